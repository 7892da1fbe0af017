"""What the chart lets the operator do: nothing more than docs/operator.md says, nothing that leads to more."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .conftest import ROOT

Objects = list[dict[str, Any]]
WHOLE_CLUSTER: dict[str, Any] = {}
TWO_NAMESPACES = {"watchNamespaces": ["team-a", "team-b"]}


def roles(objects: Objects, kind: str) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Rules by (namespace, name), without the roles for people."""
    return {
        (o["metadata"].get("namespace", ""), o["metadata"]["name"]): o["rules"]
        for o in objects
        if o["kind"] == kind and not any("aggregate" in label for label in o["metadata"]["labels"])
    }


def rights(rules: list[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    """(group, resource, resource name, verb)"""
    return {
        (group, resource, name, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames", [""])
        for verb in rule["verbs"]
    }


def documented(heading: str) -> set[tuple[str, str, str, str]]:
    """The table of docs/operator.md below the line that begins with `heading`."""
    text = (ROOT / "docs" / "operator.md").read_text()
    table = text.split(f"\n{heading}", 1)[1].split("\n\n", 2)[1]
    found = set()
    for row in table.splitlines()[2:]:
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        group = cells[0].strip("`").replace("core", "")
        resources = re.findall(r"`([^`]+)`", cells[1])
        named = "names" in table.splitlines()[0]
        verbs = cells[3] if named else cells[2]
        name = (re.findall(r"^`([^`]+)`$", cells[2]) or [""])[0] if named else ""
        found |= {(group, resource, name, verb.strip()) for resource in resources for verb in verbs.split(",")}
    assert found, f"no table under {heading!r}"
    return found


@pytest.mark.parametrize("values", [WHOLE_CLUSTER, TWO_NAMESPACES], ids=["whole cluster", "two namespaces"])
def test_no_rule_leads_to_more_rights(render, values):
    for kind in ("ClusterRole", "Role"):
        for where, rules in roles(render(values), kind).items():
            for group, resource, name, verb in rights(rules):
                assert "*" not in (group, resource, verb), where
                assert verb not in ("escalate", "bind", "impersonate"), where
                assert "/exec" not in resource and "/attach" not in resource and resource != "token", where
                assert group != "rbac.authorization.k8s.io", where
                if resource == "secrets":
                    assert kind == "Role" and name in ("headway-operator-tls", "headway-studies-tls")
                    assert verb in ("get", "update")


def test_served_namespaces_give_exactly_the_documented_rights(render):
    everywhere = roles(render(WHOLE_CLUSTER), "ClusterRole")["", "headway-operator"]
    in_each = documented("In each served namespace")
    in_cluster = documented("In the whole cluster, whatever is served")
    assert rights(everywhere) == in_each | in_cluster

    objects = render(TWO_NAMESPACES)
    assert rights(roles(objects, "ClusterRole")["", "headway-operator"]) == in_cluster
    for namespace in ("team-a", "team-b"):
        assert rights(roles(objects, "Role")[namespace, "headway-operator-runs"]) == in_each


def test_the_operators_own_namespace_gives_exactly_the_documented_rights(render):
    own = roles(render(), "Role")["headway-system", "headway-operator"]
    assert rights(own) == documented("In the operator's own namespace")


def test_every_role_is_bound_to_one_account_of_ours_and_to_nobody_else(render):
    objects = render(TWO_NAMESPACES)
    bindings = [o for o in objects if o["kind"].endswith("RoleBinding")]
    bound = {(b["metadata"].get("namespace", ""), b["roleRef"]["name"]) for b in bindings}
    assert bound == set(roles(objects, "Role")) | set(roles(objects, "ClusterRole"))
    for binding in bindings:
        account = "headway-studies" if binding["roleRef"]["name"] == "headway-studies" else "headway-operator"
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": "headway-system"}]


def test_the_study_service_may_only_ask_whose_a_token_is(render):
    objects = render()
    assert ("headway-system", "headway-studies") not in roles(objects, "Role")
    own = roles(objects, "ClusterRole")["", "headway-studies"]
    assert rights(own) == documented("The study service") == {("authentication.k8s.io", "tokenreviews", "", "create")}


def test_people_with_edit_may_change_runs_but_not_their_status(render):
    (edit,) = [
        o for o in render() if o["metadata"].get("labels", {}).get("rbac.authorization.k8s.io/aggregate-to-edit")
    ]
    assert {resource for _, resource, _, _ in rights(edit["rules"])} == {"trainingruns", "hpostudies"}
