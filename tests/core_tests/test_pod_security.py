import copy

import pytest
from core_tests.makers import REPORTING, make_run
from headway_operator.core import pods
from headway_operator.core.pod_security import violations

POD = pods.build_pod(make_run(gpusPerNode=1), 1, 0, REPORTING)
TOKEN = {"serviceAccountToken": {"audience": "https://kubernetes.default.svc", "path": "token"}}


def spec(**fields):
    return lambda pod: pod["spec"].update(fields)


def container(**fields):
    return lambda pod: pod["spec"]["containers"][0].update(fields)


def volume(**kind):
    return lambda pod: pod["spec"]["volumes"].append({"name": "extra", **kind})


def security(**fields):
    return lambda pod: pod["spec"]["securityContext"].update(fields)


def privileges(**fields):
    return lambda pod: pod["spec"]["containers"][0]["securityContext"].update(fields)


# Everything that a hostile template has ever smuggled into a pod (anchors: reliability, security).
ATTACKS = {
    "AppArmor profile": lambda pod: pod["metadata"].update(
        annotations={"container.apparmor.security.beta.kubernetes.io/trainer": "unconfined"}
    ),
    "host network": spec(hostNetwork=True),
    "host PID": spec(hostPID=True),
    "host IPC": spec(hostIPC=True),
    "shared process namespace": spec(shareProcessNamespace=True),
    "service account": spec(serviceAccountName="admin"),
    "API token": spec(automountServiceAccountToken=True),
    "chosen node": spec(nodeName="control-plane"),
    "chosen scheduler": spec(schedulerName="mine"),
    "runtime class": spec(runtimeClassName="root"),
    "init container": spec(initContainers=[{"name": "x", "image": "x"}]),
    "ephemeral container": spec(ephemeralContainers=[{"name": "x", "image": "x"}]),
    "second container": lambda pod: pod["spec"]["containers"].append({"name": "x"}),
    "system priority": spec(priorityClassName="system-node-critical"),
    "host aliases": spec(hostAliases=[{"ip": "10.0.0.1", "hostnames": ["registry"]}]),
    "root user": security(runAsUser=0),
    "may be root": security(runAsNonRoot=False),
    "no seccomp": security(seccompProfile={"type": "Unconfined"}),
    "sysctls": security(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
    "SELinux": security(seLinuxOptions={"type": "spc_t"}),
    "privileged": privileges(privileged=True),
    "escalation": privileges(allowPrivilegeEscalation=True),
    "capability": privileges(capabilities={"drop": ["ALL"], "add": ["SYS_ADMIN"]}),
    "writable root": privileges(readOnlyRootFilesystem=False),
    "proc mount": privileges(procMount="Unmasked"),
    "container user": privileges(runAsUser=0),
    "host path": volume(hostPath={"path": "/"}),
    "NFS": volume(nfs={"server": "x", "path": "/"}),
    "CSI inline": volume(csi={"driver": "x"}),
    "token for the API server": volume(projected={"sources": [TOKEN]}),
    "projected secret": volume(projected={"sources": [{"secret": {"name": "x"}}]}),
    "two kinds in one volume": volume(emptyDir={}, hostPath={"path": "/"}),
    "host port": container(ports=[{"hostPort": 22}]),
    "lifecycle hook": container(lifecycle={"postStart": {"exec": {"command": ["sh"]}}}),
    "probe": container(livenessProbe={"exec": {"command": ["sh"]}}),
    "device": container(volumeDevices=[{"name": "x", "devicePath": "/dev/sda"}]),
    "subpath": container(volumeMounts=[{"name": "extra", "mountPath": "/x", "subPath": "../.."}]),
    "propagation": container(volumeMounts=[{"name": "x", "mountPath": "/x", "mountPropagation": "Bidirectional"}]),
    "two volumes at one path": lambda pod: pod["spec"]["containers"][0]["volumeMounts"].append(
        {"name": "extra", "mountPath": "/tmp"}
    ),
    "variable twice": lambda pod: pod["spec"]["containers"][0]["env"].append({"name": "HEADWAY_UID", "value": "x"}),
    "toleration of everything": spec(tolerations=[{"operator": "Exists"}]),
    "toleration of the control plane": spec(
        tolerations=[{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]
    ),
}


def test_a_pod_of_the_builder_has_no_violation():
    assert violations(POD) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_refused(attack):
    pod = copy.deepcopy(POD)
    ATTACKS[attack](pod)
    assert violations(pod), attack


def test_an_empty_pod_is_refused():
    assert violations({})
