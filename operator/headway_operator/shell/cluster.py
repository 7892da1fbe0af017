"""The one module that speaks to the API server. 404 and 409 are answers, not errors; 429 and 5xx are tried again."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NamedTuple

import aiohttp
from headway_api import names
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration

from headway_operator.core.observed import is_leaving
from headway_operator.shell import metrics

log = logging.getLogger(__name__)

Raw = dict[str, Any]
Query = Mapping[str, str | int]

REQUEST_TIMEOUT_S = 10.0
RETRIES = 4
FIRST_BACKOFF_S = 0.25
PAGE = 500
_RETRIED = frozenset({429, 500, 502, 503, 504})
_PATHS = {
    "Pod": "/api/v1/namespaces/{namespace}/pods",
    "Service": "/api/v1/namespaces/{namespace}/services",
    "ConfigMap": "/api/v1/namespaces/{namespace}/configmaps",
    "Secret": "/api/v1/namespaces/{namespace}/secrets",
    "Event": "/api/v1/namespaces/{namespace}/events",
    "PersistentVolumeClaim": "/api/v1/namespaces/{namespace}/persistentvolumeclaims",
    "Node": "/api/v1/nodes",
    "Job": "/apis/batch/v1/namespaces/{namespace}/jobs",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases",
    "TokenReview": "/apis/authentication.k8s.io/v1/tokenreviews",
    names.TRAINING_RUN: f"/apis/{names.API_VERSION}/namespaces/{{namespace}}/{names.TRAINING_RUNS}",
    names.HPO_STUDY: f"/apis/{names.API_VERSION}/namespaces/{{namespace}}/{names.HPO_STUDIES}",
}


class Key(NamedTuple):
    """Which run or study: all that a queue needs to know, since everything else is read when it is needed."""

    namespace: str
    name: str
    kind: str = names.TRAINING_RUN


class ApiError(Exception):
    """The API server refused, or could not be reached (status 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status, self.reason, self.message = status, reason, message


class ConflictError(Exception):
    """What was read is no longer so: read again."""


class RefusedError(Exception):
    """The API server will not have this object (quota, admission, validation, a namesake): for people to mend."""


class LeavingError(RefusedError):
    """What stands where the new object would is an earlier run's, and about to go. The text is its kind and name."""


class Cluster:
    """Typed enough for the core: raw dicts in and out."""

    def __init__(self, client: ApiClient, fence: Callable[[], None] = lambda: None) -> None:
        """`fence` is called before every write, and does not return if this process may no longer write."""
        self._client = client
        self._fence = fence

    def fenced(self, fence: Callable[[], None]) -> Cluster:
        """Return the same cluster behind a fence."""
        return Cluster(self._client, fence)

    # --- reading ------------------------------------------------------------------------------------------------
    async def get(self, kind: str, namespace: str, name: str) -> Raw | None:
        """Return the object as it is now, or None."""
        try:
            return await self._request("GET", _path(kind, namespace, name))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def each(self, kind: str, namespace: str, selector: str = "") -> AsyncIterator[Raw]:
        """Yield the objects, page by page; namespace "" is the whole cluster."""
        path = _path(kind, namespace) if namespace else _path(kind, "").replace("/namespaces/", "")
        query: dict[str, str | int] = {"limit": PAGE}
        if selector:
            query["labelSelector"] = selector
        while True:
            page = await self._request("GET", path, query=query)
            for item in page.get("items") or ():
                yield item
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return
            query["continue"] = token

    async def list_pods(self, namespace: str, run_uid: str) -> list[Raw]:
        """Return the pods that carry the run's UID."""
        return [pod async for pod in self.each("Pod", namespace, f"{names.LABEL_RUN_UID}={run_uid}")]

    async def list_trials(self, namespace: str, study_uid: str) -> list[Raw]:
        """Return the runs that carry the study's UID."""
        selector = f"{names.LABEL_STUDY_UID}={study_uid}"
        return [run async for run in self.each(names.TRAINING_RUN, namespace, selector)]

    # --- writing ------------------------------------------------------------------------------------------------
    async def create(self, manifest: Raw) -> None:
        """Create a child. One that is there already, and is the same owner's, is as good. Raises RefusedError, and
        LeavingError where waiting is enough."""
        kind, metadata = manifest["kind"], manifest["metadata"]
        query = {"fieldManager": names.MANAGER_RECONCILER}
        try:
            await self._request("POST", _path(kind, metadata["namespace"]), query=query, body=manifest)
        except ApiError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                await self._expect_ours(kind, metadata)
            elif error.status == 409:  # e.g. two pods at once against one quota
                raise ConflictError(error.message) from error
            elif error.status in (400, 403, 413, 422):
                raise RefusedError(error.message) from error
            else:
                raise

    async def _expect_ours(self, kind: str, metadata: Raw) -> None:
        found = await self.get(kind, metadata["namespace"], metadata["name"]) or {}
        owners = {owner.get("uid") for owner in (found.get("metadata") or {}).get("ownerReferences") or ()}
        owner = metadata["ownerReferences"][0]
        if owner["uid"] in owners:
            return
        if not found or is_leaving(found, owner.get("name", ""), owner.get("kind", "")):
            raise LeavingError(f"{kind} {metadata['name']}")
        whose = "study" if owner.get("kind") == names.HPO_STUDY else "run"
        raise RefusedError(f"{kind} {metadata['name']} exists already and is not this {whose}'s: delete it")

    async def apply(self, manifest: Raw) -> None:
        """Change a child that was read (its UID is in the manifest), by server-side apply. Raises ConflictError."""
        metadata = manifest["metadata"]
        await self._apply(_path(manifest["kind"], metadata["namespace"], metadata["name"]), manifest)

    async def apply_status(self, key: Key, status: Raw, *, uid: str, manager: str, resource_version: str = "") -> None:
        """Apply the manager's part of a status to the run or study that was read. Raises ConflictError."""
        metadata = {"name": key.name, "namespace": key.namespace, "uid": uid}
        if resource_version:
            metadata["resourceVersion"] = resource_version
        document = {
            "apiVersion": names.API_VERSION,
            "kind": key.kind,
            "metadata": metadata,
            "status": status,
        }
        path = f"{_path(key.kind, key.namespace, key.name)}/status"
        await self._apply(path, document, manager=manager)

    async def _apply(self, path: str, document: Raw, manager: str = names.MANAGER_RECONCILER) -> None:
        query = {"fieldManager": manager, "force": "true"}
        try:
            await self._request("PATCH", path, query=query, body=document, content="application/apply-patch+yaml")
        except ApiError as error:
            if error.status in (404, 409):
                raise ConflictError(error.message) from error
            raise

    async def suspend_run(self, namespace: str, name: str, uid: str, suspend: bool) -> None:
        """Set spec.suspend of this very run. Raises ConflictError if it is gone, or another has its name."""
        body = {"metadata": {"uid": uid}, "spec": {"suspend": suspend}}
        path, query = _path(names.TRAINING_RUN, namespace, name), {"fieldManager": names.MANAGER_RECONCILER}
        try:
            await self._request("PATCH", path, query=query, body=body, content="application/merge-patch+json")
        except ApiError as error:
            if error.status in (404, 409, 422):  # 422: a UID never changes
                raise ConflictError(error.message) from error
            raise

    async def delete(self, kind: str, namespace: str, name: str, uid: str, *, force: bool = False) -> None:
        """Delete this very object; if it is gone, or another has its name, there is nothing to do."""
        options: Raw = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        if force:
            options["gracePeriodSeconds"] = 0
        try:
            await self._request("DELETE", _path(kind, namespace, name), body=options)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def post(self, kind: str, namespace: str, document: Raw) -> Raw | None:
        """Create something that is no child: an Event, a Lease, a TokenReview. None if it is there already."""
        try:
            return await self._request("POST", _path(kind, namespace), body=document)
        except ApiError as error:
            if error.status == 409:
                return None
            raise

    async def replace(self, kind: str, document: Raw) -> Raw:
        """Replace an object that was read; its resourceVersion makes sure of it. Raises ConflictError."""
        metadata = document["metadata"]
        try:
            return await self._request(
                "PUT", _path(kind, metadata["namespace"], metadata["name"]), body=document, retries=1
            )
        except ApiError as error:
            if error.status in (404, 409):
                raise ConflictError(error.message) from error
            raise

    # --- one request --------------------------------------------------------------------------------------------
    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Raw | None = None,
        content: str = "application/json",
        retries: int = RETRIES,
    ) -> Raw:
        """Speak to the server, again if it is busy. All our writes may be repeated: they name what they mean."""
        backoff = FIRST_BACKOFF_S
        for attempt in range(1, retries + 1):
            if method != "GET":
                self._fence()
            try:
                return await self._once(method, path, query or {}, body, content)
            except ApiError as error:
                if attempt == retries or error.status not in (0, *_RETRIED):
                    raise
                log.debug("%s %s: %s; trying again", method, path, error)
            await asyncio.sleep(backoff)
            backoff *= 2
        raise AssertionError("the last try returns or raises")

    async def _once(self, method: str, path: str, query: Query, body: Raw | None, content: str) -> Raw:
        method, url, headers, data, _ = await self._client.param_serialize(
            method=method,
            resource_path=path,
            query_params=list(query.items()),
            header_params={"Content-Type": content, "Accept": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        try:
            response = await self._client.call_api(method, url, headers, data, None, _request_timeout=timeout)
            answer: bytes = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            metrics.API_REQUESTS.labels(method, "none").inc()
            raise ApiError(0, "Unreachable", str(error) or type(error).__name__) from error
        metrics.API_REQUESTS.labels(method, str(response.status)).inc()
        document = _decoded(answer)
        if response.status >= 300:
            text = str(document.get("message") or answer[:200].decode("utf-8", "replace"))
            raise ApiError(response.status, str(document.get("reason") or ""), text)
        return document


def _decoded(data: bytes) -> Raw:
    try:
        document = json.loads(data or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _path(kind: str, namespace: str, name: str = "") -> str:
    base = _PATHS[kind].format(namespace=namespace)
    return f"{base}/{name}" if name else base


async def connect(kubeconfig: str) -> ApiClient:
    """Return a client of the cluster that this pod is in, or of a kubeconfig file."""
    configuration = Configuration()
    if kubeconfig:
        await kube_config.load_kube_config(kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        kube_config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        # Proxies are for the world outside; without them aiohttp also stops looking for a .netrc at every request.
        configuration.client_session_kwargs = {"trust_env": False}
    configuration.connection_pool_maxsize = 64
    return ApiClient(configuration)
