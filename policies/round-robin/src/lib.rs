//! Takes the candidates in turn, each as often as its weight says.

pub mod rank;

use witgate_sdk::cells::Table;
use witgate_sdk::{About, Ask, Fact, Policy, Router, Setup, Signal, Verdict, register};

/// Smooth weighted round robin, one sequence for each route, shared by all instances.
#[derive(Debug)]
pub struct RoundRobin {
    cells: Table,
    layout: Layout,
    weight: Signal,
    warm_up: Signal,
    route: Fact,
}

impl Policy for RoundRobin {
    const ABOUT: About = About::new(
        "round-robin",
        env!("CARGO_PKG_VERSION"),
        "Takes the candidates in turn, each as often as its weight says.",
    );

    fn configure(setup: &mut Setup) -> Result<Self, String> {
        let layout = Layout::new(setup.deployments().len(), setup.routes().len());
        Ok(Self {
            cells: Table::open("turns", layout.width())?,
            layout,
            weight: setup.signal("weight"),
            warm_up: setup.signal("warm-up"),
            route: setup.fact("route"),
        })
    }
}

impl Router for RoundRobin {
    fn route(&self, ask: &Ask) -> Result<Verdict, String> {
        let (weight, warm_up) = (ask.signal(self.weight), ask.signal(self.warm_up));
        let warming: Vec<f64>;
        let weight = if rank::all_warm(warm_up) {
            weight
        } else {
            warming = rank::warming(weight, warm_up);
            &warming
        };
        let route = self.layout.of_route(ask.fact(self.route) as usize);
        Ok(ask.pick(if rank::all_equal(weight) {
            self.in_turn(ask, route)
        } else {
            self.by_weight(ask, route, weight)
        }))
    }
}

impl RoundRobin {
    /// Equal weights need no more than who was last.
    fn in_turn(&self, ask: &Ask, route: RouteCells) -> usize {
        let candidates = ask.candidates();
        let mut row = 0;
        for _ in 0..TRIES {
            let last = self.cells.load(route.last);
            row = rank::next_in_turn(candidates, last);
            if self.cells.swap_if(route.last, last, rank::mark(candidates[row])) {
                break;
            }
        }
        row
    }

    fn by_weight(&self, ask: &Ask, route: RouteCells, weight: &[f64]) -> usize {
        let cell = |row: usize| route.first_served + ask.candidates()[row] as usize;
        let served = self.cells.load_each(ask.rows().map(cell));
        let turn = rank::turn(weight, &served, self.cells.load(route.clock));
        let caught_up = turn
            .caught_up
            .is_some_and(|caught_up| self.cells.swap_if(cell(turn.row), caught_up.from, caught_up.to + turn.share));
        if !caught_up {
            self.cells.add(cell(turn.row), turn.share);
        }
        self.cells.store(route.clock, turn.clock);
        turn.row
    }
}

/// Another instance may have moved on in between. After so many tries a turn is given twice, which harms nobody.
const TRIES: u32 = 3;

/// Where a route's numbers are: who was last, the clock, and what each deployment has been served.
#[derive(Clone, Copy, Debug)]
struct Layout {
    deployments: usize,
    /// Routes with numbers of their own; when there are more, some share.
    routes: usize,
}

#[derive(Clone, Copy, Debug)]
struct RouteCells {
    last: usize,
    clock: usize,
    first_served: usize,
}

impl Layout {
    fn new(deployments: usize, routes: usize) -> Self {
        let each = deployments + 2;
        Self { deployments, routes: routes.min(MOST_CELLS / each).max(1) }
    }

    fn width(self) -> usize {
        self.routes * (self.deployments + 2)
    }

    fn of_route(self, route: usize) -> RouteCells {
        let first = route % self.routes * (self.deployments + 2);
        RouteCells { last: first, clock: first + 1, first_served: first + 2 }
    }
}

/// The contract's bound for one policy.
const MOST_CELLS: usize = 65_536;

register!(RoundRobin: router);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;
    use witgate_sdk::testing::{self, Loaded};

    fn policy(deployments: usize) -> Loaded<RoundRobin> {
        testing::load::<RoundRobin>("{}", &["a", "b", "c", "d"][..deployments]).unwrap()
    }

    fn picks(policy: &Loaded<RoundRobin>, weights: &[f64], count: usize) -> String {
        let pick = |_| match policy.ask().signal("weight", weights).route() {
            Ok(Verdict::Pick(target)) => ["a", "b", "c", "d"][target as usize],
            other => panic!("{other:?}"),
        };
        (0..count).map(pick).collect()
    }

    #[test]
    fn equals_take_turns() {
        testing::reset();
        assert_eq!(picks(&policy(3), &[1.0; 3], 7), "abcabca");
        testing::reset();
        assert_eq!(picks(&policy(3), &[2.5; 3], 4), "abca");
    }

    #[test]
    fn weights_are_kept_exactly_and_spread_out() {
        testing::reset();
        assert_eq!(picks(&policy(3), &[5.0, 1.0, 1.0], 14), "aaabcaaaaabcaa");
        testing::reset();
        assert_eq!(picks(&policy(2), &[2.0, 1.0], 6), "abaaba");
    }

    #[test]
    fn instances_go_on_where_the_others_are() {
        testing::reset();
        let (first, second) = (policy(3), policy(3));
        let both = |weights| picks(&first, weights, 2) + &picks(&second, weights, 2);
        assert_eq!(both(&[1.0; 3]), "abca");
        assert_eq!(both(&[2.0, 1.0, 1.0]), "abca");
    }

    #[test]
    fn each_route_has_its_own_turn() {
        testing::reset();
        let policy = testing::load::<RoundRobin>("{}", &["a", "b"]).unwrap();
        // the test host has one route: a second one shares with it rather than reach beyond the table
        assert_eq!(policy.ask().fact("route", 1.0).route(), Ok(Verdict::Pick(0)));
        assert_eq!(policy.ask().fact("route", 0.0).route(), Ok(Verdict::Pick(1)));
        let layout = Layout::new(2, 3);
        assert_eq!((layout.of_route(0).last, layout.of_route(2).last, layout.width()), (0, 8, 12));
    }

    #[test]
    fn the_table_stays_within_the_contracts_bound() {
        assert_eq!(Layout::new(1022, 64).width(), MOST_CELLS);
        assert_eq!(Layout::new(1022, 65).width(), MOST_CELLS);
        assert_eq!(Layout::new(1022, 63).width(), MOST_CELLS - 1024);
    }
}
