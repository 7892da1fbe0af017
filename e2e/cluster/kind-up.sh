#!/usr/bin/env bash
# kind-up.sh: sees to it that a kind cluster of three nodes is up; prints its kubeconfig.
#
# Brings along all that it needs: Docker engine, kind, kubectl, helm, node image. A healthy cluster of the same images is
# left as it is. The workers run the image that bake-node.sh made last in this checkout, if it did; what was rebuilt since
# is loaded. With E2E_KUBECONFIG set, the cluster is somebody else's: nothing is started.
. "$(dirname "$0")/lib.sh"

SHARED=$STATE/shared

write_config() { # NODE_IMAGE WORKER_IMAGE
  mkdir -p "$SHARED"
  chmod 0777 "$SHARED"  # pods write to it under their own user
  sed -e '/^#/d' -e "s|NODE_IMAGE|$1|" -e "s|WORKER_IMAGE|$2|" -e "s|SHARED_FOLDER|$SHARED|" "$CLUSTER_DIR/kind.yaml" >"$STATE/kind.yaml"
}

nodes() { docker ps --all --quiet --filter "label=io.x-k8s.kind.cluster=$CLUSTER_NAME" "$@"; }

# Three running nodes made of these images and for this checkout, all Ready.
is_current() { # NODE_IMAGE WORKER_IMAGE
  local wanted found
  wanted=$(docker image inspect --format '{{ .Id }}' "$1" "$2" "$2" 2>/dev/null | sort)
  found=$(nodes --filter status=running | xargs -r docker inspect --format '{{ .Image }}' | sort)
  [ -n "$found" ] && [ "$wanted" = "$found" ] || return 1
  [ "$(nodes | head -n 1 | xargs docker inspect --format '{{ range .Mounts }}{{ println .Source }}{{ end }}' | grep -cx "$SHARED")" = 1 ] || return 1
  kind export kubeconfig --name "$CLUSTER_NAME" --kubeconfig "$OURS" >/dev/null 2>&1 || return 1
  all_ready 5s >/dev/null 2>&1
}

all_ready() { kubectl --kubeconfig "$OURS" wait --for=condition=Ready nodes --all --timeout "$1"; }

create() {
  kind create cluster --name "$CLUSTER_NAME" --config "$STATE/kind.yaml" --kubeconfig "$OURS" --wait 180s
  all_ready 120s
}

main() {
  local node worker
  if [ "${E2E_KUBECONFIG:-$OURS}" != "$OURS" ]; then
    [ -r "$E2E_KUBECONFIG" ] || die "E2E_KUBECONFIG=$E2E_KUBECONFIG: no such file; correct it, or unset it for a kind cluster"
    say "using the cluster of E2E_KUBECONFIG=$E2E_KUBECONFIG"
    echo "$E2E_KUBECONFIG"
    return
  fi
  "$CLUSTER_DIR/engine.sh"
  PATH=$("$CLUSTER_DIR/tools.sh"):$PATH
  node=$("$CLUSTER_DIR/node-image.sh")
  worker=$(cat "$STATE/worker-image" 2>/dev/null || echo "$node")
  have_image "$worker" || worker=$node
  write_config "$node" "$worker"
  if is_current "$node" "$worker"; then
    say "cluster $CLUSTER_NAME is up already"
  else
    if [ -n "$(nodes)" ]; then step "old cluster deleted" kind delete cluster --name "$CLUSTER_NAME" --kubeconfig "$OURS"; fi
    step "cluster $CLUSTER_NAME of three nodes Ready" create
    # node images that lost their name to a newer one while the old cluster ran on them: gigabytes each
    docker image prune --force --filter label=headway.fingerprint >/dev/null
  fi
  # Rebuilt since the baking: their new layers.
  if [ "$worker" != "$node" ]; then xargs -r "$CLUSTER_DIR/load-image.sh" <"$STATE/baked-images"; fi
  echo "$OURS"
}

main "$@"
