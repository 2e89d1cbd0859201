//! Services on a real kernel: a node, pods and an outside in namespaces of their own; servers,
//! clients and datagrams between them.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

mod lab;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lab::{Lab, Spec, ask, at, say};
use net::netns::NetNs;
use proxy::dataplane::Dataplane;
use proxy::{Protocol, WhenEmpty};

const VIP: &str = "10.96.0.10";

#[test]
fn root_a_cluster_ip_answers_pods_the_node_and_the_endpoint_itself() {
    let mut lab = Lab::new(3);
    lab.set("web", Spec::tcp(VIP, 80).to(&lab.endpoints(&[0, 1, 2])));
    // From a pod: every endpoint in turn, and never with another sender, but for itself.
    let seen: BTreeSet<String> =
        (0..60).map(|_| ask(&lab.pods[0].netns, at(VIP, 80)).unwrap()).collect();
    let expected: BTreeSet<String> =
        ["0 10.42.0.1", "1 10.42.0.2", "2 10.42.0.2"].map(str::to_owned).into();
    assert_eq!(seen, expected, "hairpin is masqueraded, the others are not");
    // From the node: its own address of the pod range.
    let seen: BTreeSet<String> = (0..60).map(|_| ask(&lab.node, at(VIP, 80)).unwrap()).collect();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.iter().all(|who| who.ends_with(" 10.42.0.1")), "{seen:?}");
}

#[test]
fn root_without_endpoints_clients_are_refused_at_once() {
    let mut lab = Lab::new(1);
    lab.set("web", Spec::tcp(VIP, 80));
    for from in [&*lab.node, &lab.pods[0].netns] {
        for port in [80, 81] {
            let error = ask(from, at(VIP, port)).unwrap_err();
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "port {port}");
        }
        let error = ask(from, at("10.96.9.9", 80)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "no such service");
    }
    lab.set("web", Spec::tcp(VIP, 80).empty(WhenEmpty::Drop));
    assert_eq!(ask(&lab.node, at(VIP, 80)).unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    lab.set("web", Spec::tcp(VIP, 80).to(&lab.endpoints(&[0])));
    assert!(ask(&lab.node, at(VIP, 80)).is_ok());
}

#[test]
fn root_node_ports_and_external_ips_answer_from_everywhere() {
    let mut lab = Lab::new(2);
    let spec = Spec::tcp(VIP, 80).node_port(30123).external("198.51.100.7");
    lab.set("web", spec.to(&lab.endpoints(&[0, 1])));
    let froms = [&lab.outside, &*lab.node, &lab.pods[0].netns];
    for (n, from) in froms.into_iter().enumerate() {
        for _ in 0..8 {
            let who = ask(from, at(lab::NODE_IP, 30123)).unwrap();
            assert!(who.ends_with(" 10.42.0.1"), "masqueraded: {n} {who}");
            assert!(ask(from, at("198.51.100.7", 80)).is_ok(), "external ip from {n}");
        }
    }
    assert!(ask(&lab.node, at("127.0.0.1", 30123)).is_ok(), "localhost");
    assert!(ask(&lab.outside, at(lab::NODE_IP, 30124)).is_err());
}

#[test]
fn root_policy_local_keeps_the_clients_address() {
    let mut lab = Lab::new(2);
    let spec = Spec::tcp(VIP, 80).node_port(30123).local(&lab.endpoints(&[1]));
    lab.set("web", spec.to(&lab.endpoints(&[0, 1])));
    for _ in 0..8 {
        let who = ask(&lab.outside, at(lab::NODE_IP, 30123)).unwrap();
        assert_eq!(who, format!("1 {}", lab::OUTSIDE_IP));
    }
    let seen: BTreeSet<String> =
        (0..40).map(|_| ask(&lab.pods[0].netns, at(lab::NODE_IP, 30123)).unwrap()).collect();
    assert_eq!(seen.len(), 2, "from inside all endpoints are reached: {seen:?}");
    assert!(ask(&lab.node, at("127.0.0.1", 30123)).is_ok());
}

#[test]
fn root_source_ranges_turn_others_away() {
    let mut lab = Lab::new(1);
    let spec = Spec::tcp(VIP, 80).external("198.51.100.7").to(&lab.endpoints(&[0]));
    let (outside, pod) = (lab.outside.try_clone().unwrap(), lab.pods[0].netns.clone());
    let open = |netns: &NetNs| ask(netns, at("198.51.100.7", 80)).is_ok();
    lab.set("web", spec.clone().only_from("192.0.2.0/24"));
    assert!(open(&outside) && !open(&pod) && open(&lab.node));
    lab.set("web", spec.clone().only_from("10.42.0.0/16"));
    assert!(!open(&outside) && open(&pod));
    assert!(ask(&pod, at(VIP, 80)).is_ok(), "the cluster ip is for everybody");
    lab.set("web", spec);
    assert!(open(&outside) && open(&pod));
}

#[test]
fn root_affinity_holds_until_the_endpoint_goes() {
    let mut lab = Lab::new(4);
    let spec = Spec::tcp(VIP, 80).node_port(30123).affinity(60);
    lab.set("web", spec.clone().to(&lab.endpoints(&[0, 1, 2])));
    let client = lab.pods[3].netns.clone();
    let who = |lab: &Lab, port| {
        let to = if port == 80 { VIP } else { lab::NODE_IP };
        let _ = lab;
        let who = ask(&client, at(to, port)).unwrap();
        who.split(' ').next().unwrap().parse::<usize>().unwrap()
    };
    for port in [80, 30123] {
        let first = who(&lab, port);
        assert!((0..20).all(|_| who(&lab, port) == first), "port {port}");
        let rest: Vec<usize> = (0..3).filter(|n| *n != first).collect();
        lab.set("web", spec.clone().to(&lab.endpoints(&rest)));
        let second = who(&lab, port);
        assert_ne!(second, first);
        assert!((0..20).all(|_| who(&lab, port) == second), "port {port} after the change");
        lab.set("web", spec.clone().to(&lab.endpoints(&[0, 1, 2])));
        assert_eq!(who(&lab, port), second);
    }
    lab.set("web", Spec::tcp(VIP, 80).to(&lab.endpoints(&[0, 1, 2])));
    let seen: BTreeSet<usize> = (0..60).map(|_| who(&lab, 80)).collect();
    assert_eq!(seen.len(), 3, "without affinity all are used");
}

#[test]
fn root_udp_clients_leave_an_endpoint_that_is_gone() {
    let mut lab = Lab::new(3);
    lab.set("dns", Spec::udp(VIP, 53).to(&lab.endpoints(&[0])));
    let socket = lab::udp_client(&lab.pods[2].netns, at(VIP, 53));
    assert_eq!(say(&socket).unwrap(), "0");
    lab.set("dns", Spec::udp(VIP, 53).to(&lab.endpoints(&[0, 1])));
    assert_eq!(say(&socket).unwrap(), "0", "a living endpoint keeps its clients");
    lab.set("dns", Spec::udp(VIP, 53).to(&lab.endpoints(&[1])));
    assert_eq!(say(&socket).unwrap(), "1");
    // The service goes, and the flow with it.
    lab.remove("dns");
    assert!(say(&socket).is_err());
    lab.set("dns", Spec::udp(VIP, 53).to(&lab.endpoints(&[0])));
    assert_eq!(say(&socket).unwrap(), "0");
    assert_eq!(lab.spec_protocol("dns"), Some(Protocol::Udp));
}

#[test]
fn root_established_connections_outlive_every_change() {
    let mut lab = Lab::new(2);
    lab.set("web", Spec::tcp(VIP, 80).to(&lab.endpoints(&[0])));
    let mut held = lab::Held::open(&lab.node, at(VIP, 80));
    held.check();
    lab.set("web", Spec::tcp(VIP, 80).to(&lab.endpoints(&[1])));
    held.check();
    lab.remove("web");
    held.check();
    // A new process replaces the table as a whole.
    lab.restart();
    held.check();
    lab.dataplane.clean().unwrap();
    held.check();
}

#[test]
fn root_not_one_connection_is_lost_while_endpoints_change() {
    let mut lab = Lab::new(6);
    let everyone: Vec<usize> = (0..6).collect();
    lab.set("web", Spec::tcp(VIP, 80).node_port(30123).to(&lab.endpoints(&everyone)));
    let stop = Arc::new(AtomicBool::new(false));
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let clients: Vec<_> = [
        (lab.node.clone(), at(VIP, 80)),
        (lab.pods[0].netns.clone(), at(VIP, 80)),
        (lab.node.clone(), at(lab::NODE_IP, 30123)),
    ]
    .into_iter()
    .map(|(from, to)| {
        let (stop, counts) = (stop.clone(), counts.clone());
        std::thread::spawn(move || {
            from.run(|| {
                while !stop.load(Ordering::Relaxed) {
                    let done = lab::ask_here(to);
                    if let Err(error) = &done {
                        println!("a request to {to} failed: {error}");
                    }
                    counts[usize::from(done.is_err())].fetch_add(1, Ordering::Relaxed);
                }
            })
        })
    })
    .collect();
    let mut changes = 0;
    while counts[0].load(Ordering::Relaxed) < 6_000 || changes < 1_000 {
        let (gone, other) = (changes % 6, (changes / 6) % 6);
        let rest: Vec<usize> =
            (0..6).filter(|n| *n != gone && (*n != other || gone == 0)).collect();
        let spec = Spec::tcp(VIP, 80).node_port(30123);
        lab.set("web", spec.to(&lab.endpoints(&rest)));
        if changes % 500 == 499 {
            lab.restart();
        }
        changes += 1;
        assert_eq!(counts[1].load(Ordering::Relaxed), 0, "after {changes} changes");
    }
    stop.store(true, Ordering::Relaxed);
    clients.into_iter().for_each(|client| client.join().unwrap().unwrap());
    assert_eq!(counts[1].load(Ordering::Relaxed), 0);
    println!("{} connections, {changes} changes", counts[0].load(Ordering::Relaxed));
}

#[test]
fn root_a_change_costs_the_same_among_ten_thousand_services() {
    let mut lab = Lab::new(1);
    lab.set("other", Spec::tcp("10.96.0.98", 80).to(&lab.endpoints(&[0])));
    lab.cost_of_a_change();
    let few = lab.cost_of_a_change();
    for n in 0..10_000u32 {
        let [_, _, high, low] = n.to_be_bytes();
        lab.queue(
            &format!("s{n}"),
            Spec::tcp(&format!("10.97.{high}.{low}"), 80).to(&lab.endpoints(&[0])),
        );
    }
    lab.flush();
    let install = lab.dataplane.last_cost;
    assert!(install.byte_len / 10_000 < 400, "{install:?}");
    assert_eq!(lab.cost_of_a_change(), few, "bytes, messages and elements");
    assert!(ask(&lab.node, at("10.97.39.15", 80)).is_ok());
    lab.restart();
    assert!(ask(&lab.node, at("10.97.39.15", 80)).is_ok());
}

#[test]
fn root_clean_takes_every_rule_away() {
    let mut lab = Lab::new(1);
    lab.set("web", Spec::tcp(VIP, 80).to(&lab.endpoints(&[0])));
    lab.dataplane.clean().unwrap();
    lab.dataplane.clean().unwrap();
    let tables = |netns: &NetNs| {
        let mut nft = net::nft::Nft::open_in(netns).unwrap();
        nft.tables(net::nft::Family::Ipv4).unwrap()
    };
    assert_eq!(tables(&lab.node), ["ferry-pods-1"]);
    assert!(!lab.dataplane.leads_to(lab.pods[0].ip));
}
