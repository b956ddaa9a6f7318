#!/usr/bin/env bash
# Three rooms in a row, agents - interceptor - personas, with sslsplit in the middle as the only way through (nothing is forwarded).
# Runs inside `unshare --user --map-root-user --net --mount`; everything ends with the process group.
# usage: sslsplit.sh HOME ENGINE PERSONAS
set -euo pipefail
home=$1 engine=$2 personas=$3

mount -t tmpfs tmpfs /run # ip(8) keeps the names of namespaces in /run/netns
for room in agents interceptor personas; do
    ip netns add "$room"
    ip -n "$room" link set lo up
done
ip link add leg1 netns agents type veth peer name inside netns interceptor
ip link add outside netns interceptor type veth peer name leg2 netns personas
# 198.18.0.0/15 is for benchmarks (RFC 2544).
ip -n agents address add 198.18.1.2/24 dev leg1
ip -n interceptor address add 198.18.1.1/24 dev inside
ip -n interceptor address add 198.18.2.1/24 dev outside
ip -n personas address add 198.18.2.2/24 dev leg2
ip -n agents link set leg1 up
ip -n interceptor link set inside up
ip -n interceptor link set outside up
ip -n personas link set leg2 up
ip -n agents route add default via 198.18.1.1
ip -n personas route add default via 198.18.2.1
ip netns exec interceptor nft 'table ip interceptor {
    chain incoming {
        type nat hook prerouting priority dstnat
        iifname "inside" tcp dport 443 redirect to :8443
    }
}'

ip netns exec personas "$personas" --config "$home/personas.json" --socket "$home/personas.sock" &
# `ssl` leaves the content alone: an interceptor that reads but does not alter. It drops to nobody unless told otherwise.
ip netns exec interceptor sslsplit -u root -k "$home/ca.key" -c "$home/ca.pem" ssl 0.0.0.0 8443 &
ip netns exec agents "$engine" --workers 1 --socket "$home/engine.sock" &
wait
