#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# VPCs, subnets, ports and security groups as a user meets them: the examples, what is refused and in which words,
# what holds a deletion. An apiserver alone; no node.

bats_require_minimum_version 1.5.0
load helpers

setup_file() { start_apiserver; }
teardown_file() { stop_services; }

# object KIND NAME SPEC: SPEC is JSON.
object() { printf '{"apiVersion": "vpc.alkaid.io/v1", "kind": "%s", "metadata": {"name": "%s"}, "spec": %s}' "$@"; }

@test "the examples of the VPC kinds are taken, and shown in columns" {
  local file
  for file in vpc security-group; do
    kubectl apply -f "$ROOT/examples/$file.yaml"
    run kubectl apply -f "$ROOT/examples/$file.yaml"
    assert_success
    refute_output --partial configured
  done
  run kubectl get subnet shop-db --no-headers
  assert_output --partial 10.20.1.0/24
  run kubectl get port 6f1d0f0a-3f0e-4c56-9a25-3f6f0a6f2c11 --no-headers
  assert_output --partial 10.20.1.10
  assert_output --partial Unbound
}

@test "what is in use is not deleted, and what holds it is named" {
  run kubectl delete subnet shop-db --wait=false
  assert_failure
  assert_output --partial 'is in use by port 6f1d0f0a-3f0e-4c56-9a25-3f6f0a6f2c11'
  run kubectl delete vpc shop --wait=false
  assert_failure
  assert_output --partial 'is in use by'
  kubectl get subnet shop-db
  kubectl delete port 6f1d0f0a-3f0e-4c56-9a25-3f6f0a6f2c11
  kubectl delete subnet shop-db shop-default
  kubectl delete vpc shop
  run kubectl get vpc shop
  assert_failure
  assert_output --partial NotFound
}

@test "a port that a NIC has cannot be deleted, and its subnet neither" {
  object VPC demo '{"cidr": "10.50.0.0/16"}' | kubectl apply -f -
  object Subnet demo-default '{"vpc": "demo", "cidr": "10.50.0.0/24"}' | kubectl apply -f -
  pod_yaml held eth0 | kubectl apply -f -
  local port
  port=$(kubectl get pod held -o 'jsonpath={.spec.nics[0].portId}')
  run kubectl delete port "$port" --wait=false
  assert_failure
  assert_output --partial held
  run kubectl delete subnet demo-default --wait=false
  assert_failure
  assert_output --partial "NIC eth0 of pod held"
  kubectl get port "$port"
}

@test "each bad value is refused by the name of its field" {
  local kind spec field wrong=
  object VPC bad '{"cidr": "10.60.0.0/16"}' | kubectl apply -f -
  while read -r kind field spec; do
    run kubectl create --validate=false -f - < <(object "$kind" 1f1d0f0a-3f0e-4c56-9a25-3f6f0a6f2c12 "$spec")
    [[ $status -ne 0 && $output == *"$field"* ]] || wrong+=$kind" $field $spec: $output"$'\n'
  done <<'TABLE'
VPC spec.cidr {"cidr": "10.0.0.0"}
VPC spec.cidr {"cidr": "10.0.0.0/33"}
VPC spec.cidr {"cidr": 7}
VPC spec.sourceNAT {"cidr": "10.0.0.0/16", "sourceNAT": "yes"}
Subnet spec.vpc {"cidr": "10.60.1.0/24"}
Subnet spec.vpc {"vpc": "nowhere", "cidr": "10.60.1.0/24"}
Subnet spec.cidr {"vpc": "bad", "cidr": "10.61.1.0/24"}
Subnet spec.cidr {"vpc": "bad", "cidr": "10.60.1.0/31"}
Subnet spec.gateway {"vpc": "bad", "cidr": "10.60.1.0/24", "gateway": "10.60.2.1"}
Subnet spec.gateway {"vpc": "bad", "cidr": "10.60.1.0/24", "gateway": "10.60.1.255"}
Subnet spec.dns {"vpc": "bad", "cidr": "10.60.1.0/24", "dns": ["x"]}
Subnet spec.dhcp {"vpc": "bad", "cidr": "10.60.1.0/24", "dhcp": "on"}
Subnet spec.mtu {"vpc": "bad", "cidr": "10.60.1.0/24", "mtu": 67}
Subnet spec.mtu {"vpc": "bad", "cidr": "10.60.1.0/24", "mtu": 70000}
Subnet spec.cidr6 {"vpc": "bad", "cidr": "10.60.1.0/24", "cidr6": "fd00::/65"}
Port spec.subnet: {"vpc": "bad", "subnet": "nowhere"}
Port spec.subnet: {"vpc": "nowhere", "subnet": "demo-default"}
Port spec.ipAddresses {"vpc": "demo", "subnet": "demo-default", "ipAddresses": ["10.99.0.1"]}
Port spec.ipAddresses {"vpc": "demo", "subnet": "demo-default", "ipAddresses": ["10.50.0.1"]}
Port spec.ipAddresses {"vpc": "demo", "subnet": "demo-default", "ipAddresses": ["10.50.0.2"]}
Port spec.macAddress {"vpc": "demo", "subnet": "demo-default", "macAddress": "01:00:5e:00:00:01"}
Port spec.macAddress {"vpc": "demo", "subnet": "demo-default", "macAddress": "nonsense"}
Port spec.securityGroups {"vpc": "demo", "subnet": "demo-default", "securityGroups": ["nobody"]}
Port spec.ipv6Enabled {"vpc": "demo", "subnet": "demo-default", "ipv6Enabled": "yes"}
Port spec.ipAddresses {"vpc": "demo", "subnet": "demo-default", "ipAddresses": ["10.50.0"]}
Subnet spec.cidr6 {"vpc": "bad", "cidr": "10.60.1.0/24", "cidr6": "2001:db8::1"}
SecurityGroup spec.rules {"rules": [{"direction": "sideways"}]}
SecurityGroup spec.rules {"rules": [{"direction": "ingress", "protocol": "ipx"}]}
SecurityGroup spec.rules {"rules": [{"direction": "ingress", "protocol": "tcp", "cidr": "10.0.0.0/99"}]}
SecurityGroup spec.rules[0].port {"rules": [{"protocol": "tcp", "port": 0}]}
SecurityGroup spec.rules[0].port {"rules": [{"protocol": "tcp", "port": 65536}]}
SecurityGroup spec.rules[0].endPort {"rules": [{"protocol": "tcp", "port": 81, "endPort": 80}]}
SecurityGroup spec.rules[0].endPort {"rules": [{"protocol": "tcp", "endPort": 80}]}
SecurityGroup spec.rules[0].port {"rules": [{"protocol": "icmp", "port": 80}]}
SecurityGroup spec.rules[0].group {"rules": [{"cidr": "10.0.0.0/8", "group": "other"}]}
SecurityGroup spec.rules[0].group {"rules": [{"group": "Not A Name"}]}
SecurityGroup spec.rules[0].description {"rules": [{"description": 7}]}
SecurityGroup spec.rules {"rules": "all"}
TABLE
  assert_equal "$wrong" ""
}
