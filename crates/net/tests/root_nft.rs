//! What the encoder writes, read back by Debian's own `nft`; and what the kernel refuses.

#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use std::process::Command;

use net::netns::NetNs;
use net::nft::{
    Batch, Bitwise, Chain, ChainKind, Cmp, CtDirection, CtKey, Data, DynsetOp, Element, Expr,
    Family, FibResult, HookPoint, MetaKey, NatKind, Nft, PayloadBase, Reg, Reject, Set, SetData,
    Table, Type, Verdict, priority,
};

fn table() -> Table {
    Table::new(Family::Ipv4, "ferry-test")
}

fn saddr(reg: u8) -> Expr {
    Expr::Payload(PayloadBase::Network, 12, 4, Reg(reg))
}

fn daddr(reg: u8) -> Expr {
    Expr::Payload(PayloadBase::Network, 16, 4, Reg(reg))
}

fn dport(reg: u8) -> Expr {
    Expr::Payload(PayloadBase::Transport, 2, 2, Reg(reg))
}

fn l4proto(reg: u8) -> Expr {
    Expr::Meta(MetaKey::L4Proto, Reg(reg))
}

/// What `nft` says is in the namespace, without indentation.
fn listed(netns: &NetNs) -> Vec<String> {
    let output =
        netns.run(|| Command::new("nft").args(["list", "ruleset"]).output().unwrap()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect()
}

/// Puts one rule into a chain of a kind and reads it back.
fn check(kind: ChainKind, point: HookPoint, rule: &[Expr], expected: &str) {
    let netns = NetNs::new().unwrap();
    let mut batch = Batch::new();
    batch.table_renew(&table());
    batch.chain_add(&table(), &Chain::called("other"));
    batch.chain_add(&table(), &Chain::base("c", kind, point, priority::FILTER));
    let mut dynamic =
        Set::map("clients", &[Type::Ipv4], SetData::Values(vec![Type::Ipv4, Type::Port]));
    dynamic.dynamic = true;
    dynamic.size = 100;
    batch.set_add(&table(), &dynamic);
    let services = [Type::Ipv4, Type::Protocol, Type::Port];
    batch.set_add(
        &table(),
        &Set::map("to", &services, SetData::Values(vec![Type::Ipv4, Type::Port])),
    );
    batch.set_add(&table(), &Set::map("verdicts", &services, SetData::Verdicts));
    batch.set_add(&table(), &Set::new("pairs", &[Type::Ipv4, Type::Ipv4]));
    batch.rule_add(&table(), "c", rule);
    Nft::open_in(&netns).unwrap().commit(&batch).unwrap();
    let lines = listed(&netns);
    assert!(lines.iter().any(|line| line == expected), "{expected:?} is not in {lines:#?}");
}

fn filter(rule: &[Expr], expected: &str) {
    check(ChainKind::Filter, HookPoint::Input, rule, expected);
}

#[test]
fn root_nft_reads_each_expression_as_it_was_meant() {
    let drop = Expr::Verdict(Verdict::Drop);
    filter(
        &[saddr(0), Expr::Cmp(Cmp::Eq, Reg(0), vec![10, 0, 0, 1]), Expr::Counter, drop.clone()],
        "ip saddr 10.0.0.1 counter packets 0 bytes 0 drop",
    );
    filter(
        &[
            Expr::Meta(MetaKey::InName, Reg(0)),
            Expr::Cmp(Cmp::Eq, Reg(0), b"fry".to_vec()),
            drop.clone(),
        ],
        "iifname \"fry*\" drop",
    );
    let bits = |mask: u32| Bitwise {
        from: Reg(0),
        to: Reg(0),
        mask: mask.to_ne_bytes().to_vec(),
        xor: vec![0; 4],
    };
    filter(
        &[
            Expr::Ct(CtKey::State, Reg(0)),
            Expr::Bitwise(bits(1)),
            Expr::Cmp(Cmp::Neq, Reg(0), vec![0; 4]),
            drop.clone(),
        ],
        "ct state invalid drop",
    );
    filter(
        &[Expr::Ct(CtKey::Direction, Reg(0)), Expr::Cmp(Cmp::Eq, Reg(0), vec![0]), drop.clone()],
        "ct direction original drop",
    );
    filter(
        &[
            Expr::CtAddress { direction: CtDirection::Original, destination: true, to: Reg(0) },
            Expr::Cmp(Cmp::Eq, Reg(0), vec![1, 2, 3, 4]),
            drop.clone(),
        ],
        "ct original ip daddr 1.2.3.4 drop",
    );
    filter(
        &[saddr(0), Expr::Range(Reg(0), vec![10, 0, 0, 1], vec![10, 0, 0, 9]), drop.clone()],
        "ip saddr 10.0.0.1-10.0.0.9 drop",
    );
    filter(
        &[
            saddr(0),
            daddr(1),
            Expr::Lookup { set: "pairs".into(), key: Reg(0), negate: true },
            drop,
        ],
        "ip saddr . ip daddr != @pairs drop",
    );
    filter(
        &[
            daddr(0),
            l4proto(1),
            dport(2),
            Expr::LookupVerdict { map: "verdicts".into(), key: Reg(0) },
        ],
        "ip daddr . meta l4proto . th dport vmap @verdicts",
    );
    filter(&[Expr::Verdict(Verdict::Goto("other".into()))], "goto other");
    filter(&[Expr::Reject(Reject::PortUnreachable)], "reject");
    filter(
        &[l4proto(0), Expr::Cmp(Cmp::Eq, Reg(0), vec![6]), Expr::Reject(Reject::TcpReset)],
        "reject with tcp reset",
    );
    filter(
        &[Expr::Random { modulus: 3, to: Reg(0) }, Expr::MetaSet(MetaKey::Mark, Reg(0))],
        "meta mark set numgen random mod 3",
    );
    filter(
        &[
            Expr::Fib(FibResult::DestinationType, Reg(0)),
            Expr::Cmp(Cmp::Eq, Reg(0), 2u32.to_ne_bytes().to_vec()),
            Expr::Verdict(Verdict::Accept),
        ],
        "fib daddr type local accept",
    );
    filter(
        &[
            saddr(4),
            Expr::Immediate(Reg(0), vec![10, 0, 0, 9]),
            Expr::Immediate(Reg(1), vec![0, 80]),
            Expr::Dynset {
                set: "clients".into(),
                op: DynsetOp::Update,
                key: Reg(4),
                data: Some(Reg(0)),
                timeout_ms: 5000,
            },
        ],
        "update @clients { ip saddr timeout 5s : 10.0.0.9 . 80 }",
    );
}

#[test]
fn root_nft_reads_translations_as_they_were_meant() {
    let nat = |point, rule: &[Expr], expected| check(ChainKind::Nat, point, rule, expected);
    nat(HookPoint::Postrouting, &[Expr::Masquerade { random: true }], "masquerade fully-random");
    nat(
        HookPoint::Prerouting,
        &[
            l4proto(0),
            Expr::Cmp(Cmp::Eq, Reg(0), vec![6]),
            Expr::Immediate(Reg(0), vec![0, 80]),
            Expr::Redirect(Reg(0)),
        ],
        "meta l4proto tcp redirect to :80",
    );
    nat(
        HookPoint::Prerouting,
        &[
            daddr(0),
            l4proto(1),
            dport(2),
            Expr::LookupMap { map: "to".into(), key: Reg(0), to: Reg(0) },
            Expr::Nat { kind: NatKind::Destination, address: Reg(0), port: Some(Reg(1)) },
        ],
        "dnat ip to ip daddr . meta l4proto . th dport map @to",
    );
    check(ChainKind::Filter, HookPoint::Prerouting, &[Expr::Notrack], "notrack");
}

fn pair(key: u8, value: u8) -> Element {
    Element::map(vec![10, 0, 0, key], Data::Value(vec![10, 0, 0, value]))
}

#[test]
fn root_elements_are_added_taken_away_replaced_and_listed() {
    let netns = NetNs::new().unwrap();
    let mut nft = Nft::open_in(&netns).unwrap();
    let mut batch = Batch::new();
    batch.table_add(&table());
    batch.set_add(&table(), &Set::map("m", &[Type::Ipv4], SetData::Values(vec![Type::Ipv4])));
    let mut nets = Set::new("nets", &[Type::Ipv4]);
    nets.interval = true;
    batch.set_add(&table(), &nets);
    batch.elements_add(&table(), "nets", &Element::range("10.0.0.0/8".parse().unwrap()));
    batch.elements_add(&table(), "m", &[pair(1, 1), pair(2, 2)]);
    nft.commit(&batch).unwrap();
    let before = nft.generation().unwrap();

    // Replacing is taking away and adding in one transaction.
    let mut batch = Batch::new();
    batch.elements_delete(&table(), "m", &[Element::new(vec![10, 0, 0, 1])]);
    batch.elements_add(&table(), "m", &[pair(1, 9), pair(3, 3)]);
    nft.commit(&batch).unwrap();
    assert_ne!(nft.generation().unwrap(), before);
    let mut found: Vec<_> = nft
        .elements(&table(), "m")
        .unwrap()
        .into_iter()
        .map(|e| (e.key[3], e.data.unwrap()[3]))
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(1, 9), (2, 2), (3, 3)]);
    assert!(listed(&netns).contains(&"elements = { 10.0.0.0/8 }".to_owned()));

    // A refused change names itself and changes nothing.
    let mut batch = Batch::new();
    batch.elements_add(&table(), "m", &[pair(7, 7)]);
    batch.elements_delete(&table(), "m", &[Element::new(vec![10, 0, 0, 99])]);
    let error = nft.commit(&batch).unwrap_err();
    assert_eq!(error.to_string(), "cannot take elements from nftables set ferry-test m");
    assert!(error.is_not_found());
    assert_eq!(nft.elements(&table(), "m").unwrap().len(), 3);
    // The socket still works.
    assert_eq!(nft.tables(Family::Ipv4).unwrap(), ["ferry-test"]);
}

#[test]
fn root_a_hundred_thousand_elements_go_in_one_transaction() {
    let netns = NetNs::new().unwrap();
    let mut nft = Nft::open_in(&netns).unwrap();
    let mut batch = Batch::new();
    batch.table_add(&table());
    batch.set_add(&table(), &Set::map("m", &[Type::Mark], SetData::Values(vec![Type::Mark])));
    let elements: Vec<Element> = (0..100_000u32)
        .map(|n| Element::map(n.to_ne_bytes().to_vec(), Data::Value(vec![0, 0, 0, 1])))
        .collect();
    batch.elements_add(&table(), "m", &elements);
    nft.commit(&batch).unwrap();
    assert_eq!(nft.elements(&table(), "m").unwrap().len(), 100_000);
}

#[test]
fn root_ranges_of_concatenated_fields_are_listed_as_they_were_meant() {
    let netns = NetNs::new().unwrap();
    let mut batch = Batch::new();
    batch.table_add(&table());
    let mut set = Set::new("allowed", &[Type::Ipv4, Type::Protocol, Type::Port, Type::Ipv4]);
    set.interval = true;
    batch.set_add(&table(), &set);
    let first = [[10, 0, 0, 1], [6, 0, 0, 0], [0, 80, 0, 0], [192, 168, 0, 0]].concat();
    let last = [[10, 0, 0, 1], [6, 0, 0, 0], [0, 80, 0, 0], [192, 168, 255, 255]].concat();
    batch.elements_add(&table(), "allowed", &[Element::between(first, last)]);
    Nft::open_in(&netns).unwrap().commit(&batch).unwrap();
    let lines = listed(&netns);
    let expected = "elements = { 10.0.0.1 . tcp . 80 . 192.168.0.0/16 }";
    assert!(lines.iter().any(|line| line == expected), "{lines:#?}");
}
