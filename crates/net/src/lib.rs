//! Netlink: links, routes, namespaces, nftables.
