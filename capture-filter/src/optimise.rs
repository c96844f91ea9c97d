//! Programs become shorter, and say the same: a test whose answer is known on some way to it is skipped on that way, one
//! whose answer does not matter is removed, and equal ones become one.
//!
//! As in tcpdump, a load that cannot matter vanishes: `tcp[1000] = 0 or tcp` is all of TCP, though not every frame has a byte
//! that far. Apart from that, and from frames that end inside of what is read, the answers stay the same.
//!
//! Time and memory grow with the number of tests, times small constants: facts that are kept, steps that a way is followed,
//! rounds.

use alloc::{vec, vec::Vec};

mod facts;
mod graph;
mod switch;

use facts::Facts;
use graph::Graph;

use crate::program::{Next, Program};

/// How many tests with known answers are skipped at once. What comes after them is left to the next round.
const MAX_STEPS: usize = 32;
/// Rounds at most. Three are enough for all but long lists.
const MAX_ROUNDS: usize = 12;

/// Makes a program shorter.
pub fn optimise(program: Program) -> Program {
    let length = program.tests.len();
    optimise_assuming(program, &vec![false; length])
}

/// Makes a program shorter whose caller makes the tests that are marked himself, of each packet that matches: they are there
/// for what they tell of the packets that are left, and then removed.
pub(crate) fn optimise_assuming(program: Program, is_assumed: &[bool]) -> Program {
    let mut graph = Graph::of(program, is_assumed);
    improve(&mut graph);
    if is_assumed.contains(&true) {
        graph.accept_assumed();
        improve(&mut graph);
    }
    switch::balance(&mut graph);
    graph.compact();
    graph.into_program()
}

impl Program {
    /// Whether it is known that no packet matches.
    pub fn matches_nothing(&self) -> bool {
        self.entry == Next::Reject
    }
}

fn improve(graph: &mut Graph) {
    graph.compact();
    for _ in 0..MAX_ROUNDS {
        let changed = skip(graph);
        graph.compact();
        if !changed {
            break;
        }
    }
}

/// One round from the first test to the last: skips what is known on each way.
fn skip(graph: &mut Graph) -> bool {
    let mut changed = false;
    // What is known where a test begins; none for tests that nothing leads to.
    let mut known: Vec<Option<Facts>> = vec![None; graph.nodes.len()];
    let arrive = |known: &mut Vec<Option<Facts>>, next: Next, facts: Facts| {
        if let Next::Test(index) = next
            && let Some(place) = known.get_mut(index as usize)
        {
            match place {
                Some(known) => known.meet(&facts),
                None => *place = Some(facts),
            }
        }
    };
    arrive(&mut known, graph.entry, Facts::default());
    for index in 0..graph.nodes.len() {
        let Some(facts) = known.get_mut(index).and_then(Option::take) else { continue };
        let Some(node) = graph.nodes.get(index).copied() else { continue };
        let if_yes = facts.with(node.subject, node.mask, node.condition, true);
        let if_no = facts.with(node.subject, node.mask, node.condition, false);
        if let Some(answer) = facts.decide(node.subject, node.mask, node.condition) {
            let next = follow(graph, if answer { node.yes } else { node.no }, &facts, Through::All);
            graph.replace(index, next, next);
            changed = true;
            arrive(&mut known, next, facts);
            continue;
        }
        let yes = follow(graph, node.yes, &if_yes, Through::All);
        let no = follow(graph, node.no, &if_no, Through::All);
        // Either answer leads to the same place, also without this test. Tests of the caller say nothing here: which of them
        // a way leads to, once they are gone, is all that tells packets apart.
        let through = if node.is_assumed { Through::All } else { Through::Own };
        let ways = [(node.no, &if_yes, yes), (node.yes, &if_no, no)];
        let same = ways.into_iter().find_map(|(way, facts_here, goal)| {
            let start = follow(graph, way, &facts, through);
            (follow(graph, start, facts_here, through) == goal).then_some(start)
        });
        if let Some(next) = same {
            graph.replace(index, next, next);
            changed = true;
            arrive(&mut known, next, facts);
            continue;
        }
        changed |= yes != node.yes || no != node.no;
        graph.replace(index, yes, no);
        arrive(&mut known, yes, if_yes);
        arrive(&mut known, no, if_no);
    }
    changed
}

/// Which tests a way is followed through.
#[derive(Clone, Copy, PartialEq)]
enum Through {
    All,
    /// Not through those that the caller makes.
    Own,
}

/// Where a way leads on which facts are known, behind the tests whose answers are.
fn follow(graph: &Graph, mut next: Next, facts: &Facts, through: Through) -> Next {
    for _ in 0..MAX_STEPS {
        let Some(node) = graph.node(next) else { break };
        if node.is_assumed && through == Through::Own {
            break;
        }
        match facts.decide(node.subject, node.mask, node.condition) {
            Some(true) => next = node.yes,
            Some(false) => next = node.no,
            None if node.yes == node.no => next = node.yes,
            None => break,
        }
    }
    next
}
