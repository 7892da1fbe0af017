#!/usr/bin/env bash
# kind-down.sh: deletes the cluster and what its pods left in the shared folder. Images and binaries stay cached.
. "$(dirname "$0")/lib.sh"

if docker version >/dev/null 2>&1 && [ -x "$BIN/kind" ]; then
  step "cluster $CLUSTER_NAME deleted" "$BIN/kind" delete cluster --name "$CLUSTER_NAME" --kubeconfig "$OURS"
fi
# Pods wrote under their own users; on most machines only a container's root may delete that.
rm -rf "$STATE/shared" 2>/dev/null || say "$STATE/shared: some files belong to pods' users, left there"
rm -f "$OURS" "$STATE/kind.yaml"
