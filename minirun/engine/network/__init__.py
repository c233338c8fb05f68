"""Networks: bridges that containers are plugged into, as Docker's "bridge" driver makes them.

    wish.py       what the flags ask for                         (at create)
    records.py    the networks that there are: networks/<id>.json
    leases.py     who has which address: run/network/leases.json, under a lock
    addresses.py  choosing subnets, addresses and MAC addresses
    ports.py      -p in all its forms; ports of this machine that are held
    endpoints.py  the start and the end of a container, seen from its networks
    attach.py     the child that plugs a container in, while the runtime makes it
    plant.py      what all containers of a network share: made when needed, and taken away
    bridge.py     links, addresses and routes, by pyroute2
    netlink.py    the kernel's side of it
    firewall.py   NAT, published ports and walls, as one nftables table of our own
    upstream.py   whom a container asks for names: resolv.conf
    dns.py        the packets of the name service
    resolver.py   the name server of a network; serving.py starts and ends it
    joining.py    network connect, disconnect, rm
    mending.py    what a crash has left behind
    uplink.py     the way out of an ordinary user's networks; relay.py has their ports

A network's bridge, its rules and its name server are there while a container is on it, and go with
the last one: where nothing runs, nothing is left.
"""
