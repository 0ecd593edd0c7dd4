// SPDX-License-Identifier: Apache-2.0
// @kubernetes/client-node against an apiserver where a pod `vm` with the NIC eth0 is: informer, each patch type,
// a watch that is resumed, attach. Ends with 0 or says what was not as it should be.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const where = { namespace: 'default', name: 'vm' };
const path = '/api/v1/namespaces/default/pods';

function patch(body, strategy) {
  return core.patchNamespacedPod({ ...where, body }, k8s.setHeaderOptions('Content-Type', strategy));
}

// The typed objects of this library know the fields of stock Kubernetes only; a watch gives them as they are.
function nextEvent(query, wanted) {
  return new Promise((resolve, reject) => {
    let done = false;
    let request;
    const finish = (settle, value) => {
      if (done) return;
      done = true;
      request.then((controller) => controller.abort());
      settle(value);
    };
    request = new k8s.Watch(config).watch(
      path,
      { timeoutSeconds: 20, ...query },
      (type, object) => wanted(type, object) && finish(resolve, object),
      (error) => finish(reject, error ?? new Error('the watch ended')),
    );
  });
}
const nicsAre = (...names) => (type, pod) =>
  pod.spec && JSON.stringify(pod.spec.nics.map((nic) => nic.name)) === JSON.stringify(names);

async function informer() {
  const seen = [];
  const cache = k8s.makeInformer(config, path, () => core.listNamespacedPod({ namespace: 'default' }));
  const changed = new Promise((resolve) => {
    cache.on('add', (pod) => seen.push(`add ${pod.metadata.name}`));
    cache.on('update', (pod) => pod.metadata.labels?.by === 'node' && resolve());
  });
  cache.on('error', (error) => error.type === 'aborted' || assert.fail(error));
  await cache.start();
  await patch({ metadata: { labels: { by: 'node' } } }, k8s.PatchStrategy.MergePatch);
  await changed;
  assert.deepEqual(seen, ['add vm']);
  assert.equal(cache.get('vm', 'default').metadata.labels.by, 'node');
  await cache.stop();
}

async function patches() {
  let version = (await core.readNamespacedPod(where)).metadata.resourceVersion;
  await patch({ spec: { nics: [{ name: 'eth1' }] } }, k8s.PatchStrategy.StrategicMergePatch);
  let pod = await nextEvent({ resourceVersion: version }, nicsAre('eth0', 'eth1'));
  // Resumed from what was seen last: what happened while nobody watched is not missed.
  version = pod.metadata.resourceVersion;
  await patch([{ op: 'remove', path: '/spec/nics/1' }], k8s.PatchStrategy.JsonPatch);
  await patch({ metadata: { labels: { by: null } } }, k8s.PatchStrategy.MergePatch);
  pod = await nextEvent({ resourceVersion: version }, nicsAre('eth0'));
  assert.equal(pod.metadata.labels?.by, 'node');
  pod = await nextEvent({ resourceVersion: pod.metadata.resourceVersion }, nicsAre('eth0'));
  assert.equal(pod.metadata.labels?.by, undefined);
}

async function refusals() {
  await assert.rejects(patch([{ op: 'test', path: '/spec/vpc', value: 'other' }], k8s.PatchStrategy.JsonPatch),
    (error) => error.code === 422);
  await assert.rejects(patch({}, k8s.PatchStrategy.ServerSideApply), (error) => error.code === 415);
  await assert.rejects(core.readNamespacedPod({ ...where, name: 'none' }), (error) => error.code === 404);
}

function attach() {
  return new Promise((resolve, reject) => {
    const keys = new PassThrough();
    const screen = new PassThrough();
    let text = '';
    const timer = setTimeout(() => reject(new Error(`the console said: ${text}`)), 20000);
    new k8s.Attach(config).attach('default', 'vm', 'vm', screen, null, keys, true).then((socket) => {
      screen.on('data', (data) => {
        text += data;
        if (text.includes('login: ') && !text.includes('ping')) keys.write('ping');
        if (!text.includes('ping')) return;
        clearTimeout(timer);
        socket.close();
        resolve();
      });
    }, reject);
  });
}

for (const part of [informer, patches, refusals, attach]) {
  await part();
  console.log(`${part.name}: well`);
}
process.exit(0);
