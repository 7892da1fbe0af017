#!/usr/bin/env bash
# run.sh [pytest options]: the end-to-end suite, from nothing: images, cluster, operator, tests. `make e2e` calls it.
#
#   E2E_KEEP=1             leave the cluster up afterwards, to look at or to run again in a minute
#   E2E_KUBECONFIG=FILE    use this cluster and not kind; E2E_REGISTRY=host/path is then where its nodes pull from, and
#                          E2E_STORAGE_CLASS its ReadWriteMany class. Tests that kill nodes and processes are left out.
#   E2E_BASE_IMAGE, E2E_NODE_IMAGE, E2E_K8S_VERSION    see cluster/README.md
#
# Never the ambient KUBECONFIG. What a failed test left in the cluster is written to .e2e/diagnostics/.
. "$(dirname "$0")/cluster/lib.sh"
cd "$REPO_DIR"

PYTHON=$REPO_DIR/.venv/bin/python
VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
PREFIX=${E2E_REGISTRY:+$E2E_REGISTRY/}
OPERATOR=${PREFIX}headway-operator:$VERSION
TRAINER=${PREFIX}headway-trainer:$VERSION
IMPOSTOR=${PREFIX}headway-impostor:$VERSION
NAMESPACE=headway-system

# pip inside the build asks the index that pip here was told of.
build() { # IMAGE DOCKERFILE FOLDER
  local variable options=(--build-arg "BASE_IMAGE=$BASE")
  for variable in PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_TRUSTED_HOST; do
    if [ -n "${!variable:-}" ]; then options+=(--build-arg "$variable=${!variable}"); fi
  done
  DOCKER_BUILDKIT=0 docker build --network host "${options[@]}" -t "$1" -f "$2" "$3"
}

# On kind nothing provisions volumes: one for the studies, in the folder that the nodes share. hostPath knows no fsGroup.
add_studies_volume() {
  mkdir -p "$STATE/shared/$NAMESPACE"
  chmod 0777 "$STATE/shared/$NAMESPACE"
  kubectl apply -f - <<YAML
apiVersion: v1
kind: PersistentVolume
metadata: {name: headway-studies}
spec:
  capacity: {storage: 5Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: standard
  persistentVolumeReclaimPolicy: Retain
  claimRef: {namespace: $NAMESPACE, name: headway-studies}
  hostPath: {path: /headway-shared/$NAMESPACE, type: Directory}
YAML
}

# Short intervals, so that a test sees in seconds what a user may see in a minute.
install_operator() {
  kubectl create namespace "$NAMESPACE" --dry-run=client -o yaml | kubectl apply -f -
  kubectl label namespace "$NAMESPACE" pod-security.kubernetes.io/enforce=restricted --overwrite
  if [ -z "$E2E_KUBECONFIG_GIVEN" ]; then add_studies_volume; fi
  helm upgrade --install headway charts/headway --namespace "$NAMESPACE" --wait --timeout 4m \
    --set "image.repository=${OPERATOR%:*},image.tag=$VERSION" \
    --set "studies.image.repository=${TRAINER%:*},studies.image.tag=$VERSION" \
    --set "studies.volume.storageClass=${E2E_STORAGE_CLASS:-}" \
    --set settings.progressSeconds=2,settings.resyncSeconds=15,settings.logLevel=INFO
}

restart_operator() {
  kubectl -n "$NAMESPACE" rollout restart deployment/headway-operator deployment/headway-studies
  kubectl -n "$NAMESPACE" rollout status deployment/headway-operator --timeout 4m
  kubectl -n "$NAMESPACE" rollout status deployment/headway-studies --timeout 4m
}

# suite MARK [pytest options]: part of the tests. That a selection leaves none of a part is no failure.
suite() {
  local status=0 options=(-c pyproject.toml --rootdir . -o "pythonpath=e2e tests" --timeout 900 -p no:cacheprovider)
  options+=(--durations 0 --durations-min 5)
  "$PYTHON" -m pytest "${options[@]}" -m "$@" e2e/suites || status=$?
  if [ $status = 5 ] && [ $# -gt 5 ]; then status=0; fi
  say "tests $1: exit $status"
  return $status
}

finish() {
  status=$?
  trap - EXIT
  [ -n "${E2E_KUBECONFIG_GIVEN:-}" ] || [ -n "${E2E_KEEP:-}" ] || "$CLUSTER_DIR/kind-down.sh" || true
  say "end-to-end suite: exit $status"
  exit $status
}

main() {
  E2E_KUBECONFIG_GIVEN=${E2E_KUBECONFIG:-}
  [ -z "$E2E_KUBECONFIG_GIVEN" ] || [ -n "$PREFIX" ] \
    || die "E2E_KUBECONFIG needs E2E_REGISTRY, a registry that you can push to and the cluster's nodes can pull from"
  rm -rf "$STATE/diagnostics"
  "$CLUSTER_DIR/engine.sh"
  BASE=$("$CLUSTER_DIR/base-image.sh")
  # From nothing the node image takes minutes of compiling, and ours minutes of downloading: side by side.
  if [ -z "$E2E_KUBECONFIG_GIVEN" ]; then "$CLUSTER_DIR/node-image.sh" >/dev/null & fi
  step "$OPERATOR built" build "$OPERATOR" Dockerfile.operator .
  step "$TRAINER built" build "$TRAINER" Dockerfile.trainer .
  step "$IMPOSTOR built" build "$IMPOSTOR" e2e/impostor/Dockerfile e2e/impostor
  wait
  # What these builds have replaced: gigabytes each time that the requirements change.
  for part in operator trainer; do
    docker image prune --force --filter "label=org.opencontainers.image.title=Headway $part" >/dev/null
  done
  PATH=$("$CLUSTER_DIR/tools.sh"):$PATH
  trap finish EXIT
  if [ -n "$E2E_KUBECONFIG_GIVEN" ]; then
    for image in "$OPERATOR" "$TRAINER" "$IMPOSTOR"; do step "$image pushed" docker push -q "$image"; done
    KUBECONFIG=$E2E_KUBECONFIG_GIVEN
  else
    "$CLUSTER_DIR/bake-node.sh" "$TRAINER" >/dev/null
    KUBECONFIG=$("$CLUSTER_DIR/kind-up.sh")
    "$CLUSTER_DIR/load-image.sh" "$OPERATOR" "$IMPOSTOR"
    export E2E_KIND=$CLUSTER_NAME E2E_SHARED=$STATE/shared
  fi
  export KUBECONFIG PATH  # of our own making, or the one that was named
  export E2E_KUBECONFIG=$KUBECONFIG E2E_OPERATOR=$OPERATOR E2E_TRAINER=$TRAINER E2E_IMPOSTOR=$IMPOSTOR E2E_BASE=$BASE
  local before
  before=$(kubectl -n "$NAMESPACE" get deployment headway-operator -o jsonpath='{.metadata.generation}' 2>/dev/null || true)
  step "operator installed" install_operator
  # The tag is the same when the image is not: a cluster that was kept must not test yesterday's operator.
  if [ -n "$before" ]; then step "operator restarted" restart_operator; fi

  # First what can run side by side; then, one after the other, what kills operators and nodes under everybody.
  local failed=0
  suite "not disruptive" -n 4 --dist load "$@" || failed=1
  suite "disruptive" -n 0 --dist no "$@" || failed=1
  return $failed
}

main "$@"
