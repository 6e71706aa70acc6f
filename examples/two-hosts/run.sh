#!/bin/sh
# Starts one more node of the cluster `shop` on this Docker host:  COOKIE=… ./run.sh HOST_IP [OTHER_HOST_IP…]
# HOST_IP is the private address of this host. The Docker APIs of all of them are asked, on port 4243.
set -eu

host=${1:?usage: run.sh HOST_IP [OTHER_HOST_IP...]}
: "${COOKIE:?set COOKIE to a long random text, the same on all hosts}"
export COOKIE

hosts=$(printf ', "%s"' "$@")
cluster="#{name => shop, strategy => {docker, #{hosts => [${hosts#, }], label => \"eid.cluster=shop\"}}}"

# Docker chooses the port. On this address, it is not open to the world.
exec docker run --detach --restart unless-stopped --label eid.cluster=shop --publish "$host::12345" \
  --env COOKIE --env EID_HOST="$host" "${EID_IMAGE:-eid-example}" -eid clusters "[$cluster]"
