"""Which line honours which field of config.json: the runtime spec on one page.

The names are those of the spec's JSON schema, ``[]`` for the members of an array and ``*`` for any
name. A field that is not listed is honoured where the object that holds it is. What is in no line
here is in ``spec.REFUSED``, with the reason; a third kind there is not, and a test walks the schema
to say so. Nothing imports this: it is for readers, and for that test.
"""

HONOURED = {
    "ociVersion": "spec.check",
    "annotations": "create.prepare",
    "root.path": "rootfs.Root.__init__",
    "root.readonly": "init.protect_paths",
    "hostname": "init.set_names",
    "domainname": "init.set_names",
    # process
    "process.terminal": "init.open_terminal",
    "process.consoleSize": "init.open_terminal terminal.open_pair",
    "process.cwd": "process.change_directory",
    "process.args": "execute.become",
    "process.env": "execute.become",
    "process.user": "powers._user",
    "process.user.umask": "execute.become",
    "process.user.username": "",  # for Windows
    "process.capabilities": "powers.calls capabilities.granted",
    "process.noNewPrivileges": "powers.calls",
    "process.rlimits": "process.set_limits",
    "process.oomScoreAdj": "process.set_oom_score",
    "process.apparmorProfile": "process.borrow_from_host",
    "process.scheduler": "process.prioritise scheduling.prioritise scheduling._attributes",
    "process.scheduler.flags": "scheduling._bits",
    "process.execCPUAffinity.initial": "exec.enter_cgroup",
    "process.execCPUAffinity.final": "exec.enter_cgroup",
    "process.ioPriority": "process.prioritise scheduling.prioritise",
    # mounts and hooks, in the order in which hooks run
    "mounts[]": "mounting.mount mounting._bind mounting._new mounts.parse",
    "mounts[].uidMappings[]": "idmap.rows",
    "mounts[].gidMappings[]": "idmap.rows",
    "hooks.prestart[]": "create.limit hooks._run_one hooks._environment",
    "hooks.createRuntime[]": "create.limit hooks._run_one hooks._environment",
    "hooks.createContainer[]": "init.report_mounted hooks._run_one hooks._environment",
    "hooks.startContainer[]": "execute._wait_for_start hooks._run_one hooks._environment",
    "hooks.poststart[]": "commands.start.start hooks._run_one hooks._environment",
    "hooks.poststop[]": "ending.destroy hooks._run_one hooks._environment",
    # linux
    "linux.namespaces[]": "spec.namespaces",
    "linux.uidMappings[]": "idmap.rows",
    "linux.gidMappings[]": "idmap.rows",
    "linux.timeOffsets.boottime": "namespaces.set_time_offsets",
    "linux.timeOffsets.monotonic": "namespaces.set_time_offsets",
    "linux.devices[]": "devices.make devices._number",
    "linux.devices[].path": "devices.make_all",
    "linux.netDevices.*": "netdevices.move",
    "linux.cgroupsPath": "create.prepare",
    "linux.sysctl": "init.set_names",
    "linux.rootfsPropagation": "init.make_private",
    "linux.maskedPaths": "init.protect_paths",
    "linux.readonlyPaths": "init.protect_paths",
    "linux.mountLabel": "spec.check_label",
    "linux.personality.domain": "execute.become",
    "linux.memoryPolicy": "process.borrow_from_host scheduling.memory_policy scheduling._bits",
    # linux.seccomp
    "linux.seccomp": "seccomp.compile",
    "linux.seccomp.flags": "seccomp.flags",
    "linux.seccomp.listenerPath": "process.call_agent agent.Agent.__init__",
    "linux.seccomp.listenerMetadata": "process.call_agent agent.Agent.__init__",
    "linux.seccomp.syscalls[]": "seccomp._rule",
    "linux.seccomp.syscalls[].args[]": "seccomp._comparison",
    # linux.resources: on cgroup v1, and on v2
    "linux.resources.devices[]": "cgroup.devices._rule",
    "linux.resources.memory": "cgroup.v1._memory cgroup.v2._memory",
    "linux.resources.memory.checkBeforeUpdate": "cgroup.limits._check_usage",
    "linux.resources.cpu": "cgroup.v1._cpu cgroup.v2._cpu",
    "linux.resources.pids": "cgroup.v1._pids cgroup.v2._pids",
    "linux.resources.blockIO": "cgroup.v1._block_io cgroup.v2._block_io",
    "linux.resources.hugepageLimits[]": "cgroup.v1._hugepages cgroup.v1.page_size",
    "linux.resources.network": "cgroup.v1._network cgroup.v2._network",
    "linux.resources.rdma": "cgroup.v1.rdma",
    "linux.resources.unified": "cgroup.v1._unified cgroup.v2._unified",
}
