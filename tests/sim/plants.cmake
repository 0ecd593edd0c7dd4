# SPDX-License-Identifier: Apache-2.0
# One bug for each invariant, and the proof that the simulation finds it. NAME, the invariant that it breaks, the
# file, the text that is changed, and into what.

# The hypervisor does not wait for the port.
alkaid_plant(attach-early attach-after-port services/hypervisor/core_nic.c
  "nic->port->port_status.state == AK_PORT_READY" "nic->port->port_status.state != AK_PORT_FAILED"
  "if (!spec->ifname[0] || !spec->mac[0])" "if (!spec->mac[0])")

# The network service does not wait for the guest to let go.
alkaid_plant(release-early release-after-nic services/network/core_port.c
  "return p->nic_gone &&" "return !p->nic_gone ||")

# The apiserver frees a port as soon as its NIC is taken out of the list.
alkaid_plant(free-early free-after-release services/apiserver/alloc.c
  "if (*api_text(port, \"spec.nodeName\"))" "if (!*api_text(port, \"metadata.name\"))")

# The hypervisor detaches while something else is done to the NIC.
alkaid_plant(two-operations one-operation services/hypervisor/core_nic.c
  "|| nic->replace) && nic->op == HV_OP_NONE)" "|| nic->replace))")

# The apiserver deletes a user's port with its NIC.
alkaid_plant(user-port-deleted user-port-stays services/apiserver/alloc.c
  "if (json_is_true(api_at(port, \"spec.autoCreated\"))) {" "if (*api_name(port)) {")

# The apiserver hands out an address that a port has.
alkaid_plant(address-reused unique-address services/apiserver/alloc.c
  "!api_index_get(t->core, \"ip/%s/%s\", api_uid(subnet), text);" "*text;"
  "api_txn_keep_cursor(t, api_uid(subnet));" "at = (at + 1) % 4;")

# The hypervisor takes libvirt's word for the guest's.
alkaid_plant(ready-on-attach ready-is-usable services/hypervisor/core_nic.c
  "nic->plugged_us = core->now_us;
        nic->probe_at_us = core->now_us + PROBE_FIRST;
        nic->guest_took_us = 0;" "nic->bound = true;")

# The hypervisor takes a NIC that nobody has spoken of yet for one that nobody wants.
alkaid_plant(silence-is-no healthy-untouched services/hypervisor/core_nic.c
  "return nic->wish && nic->wish->nic_diff.wanted == AK_NIC_WANTED_ABSENT;"
  "return !nic->wish || nic->wish->nic_diff.wanted == AK_NIC_WANTED_ABSENT;")

# The apiserver keeps a port that the node has released.
alkaid_plant(port-left nothing-leaks services/apiserver/rules_vpc.c
  "        api_finish_port(t, old);" "")

# The hypervisor starts what has ended while it was away.
alkaid_plant(run-twice runs-once services/hypervisor/core_vm.c
  "if (!wish->started || vm->starting || vm->start_tried.set || went_off_as_told(core, vm))"
  "if (vm->wish || went_off_as_told(core, vm))")

# The watcher asks once.
alkaid_plant(never-again converges services/watcher/core_nic.c
  "if (core->now >= nic->retry_us)
                try_again(core, vm, nic);" "if (core->now >= nic->retry_us)
                return;")
