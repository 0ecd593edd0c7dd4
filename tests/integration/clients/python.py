# SPDX-License-Identifier: Apache-2.0
"""python3-kubernetes against an apiserver: pods with NICs, each patch type, watches. An assertion ends it."""
import sys
import threading

from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "py"},
    "spec": {
        "vpc": "demo",
        "nics": [{"name": "eth0"}],
        "virtualMachine": {
            "name": "vm",
            "image": "images.test/vm.qcow2",
            "resources": {"limits": {"cpu": "1", "memory": "200Mi"}},
        },
    },
}


def refused(code, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except ApiException as error:
        assert error.status == code, error
    else:
        raise AssertionError(f"expected {code}")


def nics(pod):
    return [nic["name"] for nic in pod["spec"]["nics"]]


def typed(core):
    """The typed client: what it creates, reads, lists by pages and refuses."""
    core.create_namespaced_pod("default", POD)
    refused(409, core.create_namespaced_pod, "default", POD)
    assert core.read_namespaced_pod("py", "default").metadata.name == "py"
    core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="py-space")))
    page = core.list_namespace(limit=1)
    names = [item.metadata.name for item in page.items]
    while page.metadata._continue:
        page = core.list_namespace(limit=1, _continue=page.metadata._continue)
        names += [item.metadata.name for item in page.items]
    assert names == sorted(names) and "py-space" in names, names
    core.delete_namespace("py-space")


def patches(pods):
    """The dynamic client, which knows fields beyond those of stock Kubernetes from discovery."""
    pod = pods.patch(name="py", namespace="default", body={"spec": {"nics": [{"name": "eth1"}]}},
                     content_type="application/strategic-merge-patch+json")
    assert nics(pod.to_dict()) == ["eth0", "eth1"], pod
    pod = pods.patch(name="py", namespace="default", body=[{"op": "remove", "path": "/spec/nics/1"}],
                     content_type="application/json-patch+json")
    assert nics(pod.to_dict()) == ["eth0"], pod
    pod = pods.patch(name="py", namespace="default", body={"metadata": {"labels": {"by": "python"}}},
                     content_type="application/merge-patch+json")
    assert pod.metadata.labels.by == "python"
    return pod.metadata.resourceVersion


def watches(core, version):
    """A watch from a version on sees what comes after it, once."""
    seen = []

    def follow():
        for event in watch.Watch().stream(core.list_namespaced_pod, "default", resource_version=version,
                                          timeout_seconds=20):
            seen.append(event["type"])
            if event["type"] == "DELETED":
                return

    follower = threading.Thread(target=follow)
    follower.start()
    core.patch_namespaced_pod("py", "default", {"metadata": {"labels": {"by": None}}})
    core.delete_namespaced_pod("py", "default", grace_period_seconds=0)
    follower.join(30)
    assert not follower.is_alive() and seen == ["MODIFIED", "DELETED"], seen


def main():
    config.load_kube_config()
    core = client.CoreV1Api()
    pods = dynamic.DynamicClient(client.ApiClient()).resources.get(api_version="v1", kind="Pod")
    typed(core)
    watches(core, patches(pods))
    answer = client.AuthorizationV1Api().create_self_subject_access_review(
        client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(
            resource_attributes=client.V1ResourceAttributes(verb="get", resource="pods", namespace="default"))))
    assert answer.status.allowed
    refused(404, core.read_namespaced_pod, "none", "default")


if __name__ == "__main__":
    sys.exit(main())
