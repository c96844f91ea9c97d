//! Long lists of comparisons of one value become a decision tree.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use super::{
    facts::Condition,
    graph::{Graph, Node},
};
use crate::program::Next;

/// Lists of so many comparisons stay what they are.
const FEW: usize = 5;
/// Ethernet types that most frames have, which are compared first: at XDP, other types are tags.
const FREQUENT: [u32; 2] = [0x0800, 0x86dd];

/// Replaces long lists of comparisons of the same bits of the same value by decision trees.
///
/// A list is what is reached from its first comparison by comparisons of that value only, each of which nothing else leads to.
/// So it says for each value where that leads: ranges of values, each with its goal. The tree divides them by halves.
pub(super) fn balance(graph: &mut Graph) {
    let mut arrivals: Vec<u32> = vec![0; graph.nodes.len()];
    let targets = graph.nodes.iter().flat_map(|node| [node.yes, node.no]);
    for next in targets.chain([graph.entry]) {
        if let Next::Test(index) = next
            && let Some(count) = arrivals.get_mut(index as usize)
        {
            *count += 1;
        }
    }
    let mut is_inner: Vec<bool> = vec![false; graph.nodes.len()];
    let mut nodes: Vec<Node> = Vec::with_capacity(graph.nodes.len());
    // Where each test has gone.
    let mut numbers: Vec<u32> = Vec::with_capacity(graph.nodes.len());
    // The ways out of new tests that lead to other new ones already.
    let mut is_final: Vec<[bool; 2]> = Vec::with_capacity(graph.nodes.len());
    for (index, head) in graph.nodes.iter().enumerate() {
        numbers.push(nodes.len() as u32);
        if is_inner.get(index).copied().unwrap_or_default() {
            continue;
        }
        let list = List::from(graph, &arrivals, index as u32, head);
        let is_long = list.depth > FEW && list.depth > list.ideal_depth() + 1;
        let reordered = if is_long { None } else { list.with_frequent_values_first() };
        if !is_long && reordered.is_none() {
            nodes.push(*head);
            is_final.push([false; 2]);
            continue;
        }
        for inner in &list.members {
            if let Some(place) = is_inner.get_mut(*inner as usize) {
                *place = true;
            }
        }
        let mut tree = Tree { head, nodes: &mut nodes, is_final: &mut is_final };
        match reordered {
            Some(values) => tree.line_up(&values, list.otherwise),
            None => _ = tree.grow(&list.ranges),
        }
    }
    let renumber = |next: Next| match next {
        Next::Test(index) => numbers.get(index as usize).map_or(Next::Reject, |&number| Next::Test(number)),
        verdict => verdict,
    };
    for (node, [yes_is_final, no_is_final]) in nodes.iter_mut().zip(&is_final) {
        node.yes = if *yes_is_final { node.yes } else { renumber(node.yes) };
        node.no = if *no_is_final { node.no } else { renumber(node.no) };
    }
    graph.entry = renumber(graph.entry);
    graph.nodes = nodes;
}

/// Comparisons of one value, and what they say together.
struct List {
    /// Its comparisons, besides the first.
    members: Vec<u32>,
    /// The last value of each range, and where it leads. In ascending order, together all values.
    ranges: Vec<(u32, Next)>,
    /// Comparisons on the longest way through it.
    depth: usize,
    /// If it compares with single values only: these, in their order, and where each leads.
    values: Vec<(u32, Next)>,
    /// And where all others lead.
    otherwise: Next,
}

impl List {
    fn from(graph: &Graph, arrivals: &[u32], index: u32, head: &Node) -> Self {
        let belongs = |next: Next| match (next, graph.node(next)) {
            (Next::Test(at), Some(node)) => {
                let is_same = node.subject == head.subject
                    && node.mask == head.mask
                    && node.is_assumed == head.is_assumed
                    && arrivals.get(at as usize) == Some(&1);
                (at == index || is_same).then_some((at, node))
            }
            _ => None,
        };
        let mut list = Self {
            members: Vec::new(),
            ranges: Vec::new(),
            depth: 0,
            values: Vec::new(),
            otherwise: Next::Reject,
        };
        // Where single values lead, which are compared before what else is said of the range they lie in.
        let mut values: BTreeMap<u32, Next> = BTreeMap::new();
        let mut ranges: Vec<(u32, Next)> = Vec::new();
        // Ranges of values to be looked up, the lowest one on top: (first, last, from where, comparisons so far).
        let mut work = vec![(0_u32, head.mask, Next::Test(index), 0_usize)];
        while let Some((low, high, next, depth)) = work.pop() {
            let Some((at, node)) = belongs(next) else {
                list.depth = list.depth.max(depth);
                ranges.push((high, next));
                continue;
            };
            if at != index {
                list.members.push(at);
            }
            match node.condition {
                Condition::Greater(value) => {
                    if high > value {
                        work.push((low.max(value.saturating_add(1)), high, node.yes, depth + 1));
                    }
                    if low <= value {
                        work.push((low, high.min(value), node.no, depth + 1));
                    }
                }
                Condition::Equal(value) => {
                    if low <= value && value <= high {
                        values.entry(value).or_insert_with(|| {
                            let mut goal = node.yes;
                            while let Some((_, node)) = belongs(goal) {
                                goal = if node.condition.holds(value) { node.yes } else { node.no };
                            }
                            list.values.push((value, goal));
                            goal
                        });
                    }
                    work.push((low, high, node.no, depth + 1));
                }
            }
        }
        if let [(_, otherwise)] = ranges.as_slice() {
            list.otherwise = *otherwise;
        } else {
            list.values.clear();
        }
        let mut values = values.into_iter().peekable();
        let mut next_low = Some(0_u32);
        for (high, goal) in ranges {
            while let Some((value, goal_of_value)) = values.next_if(|(value, _)| *value <= high) {
                if let Some(below) =
                    value.checked_sub(1).filter(|below| next_low.is_some_and(|low| low <= *below))
                {
                    list.add(below, goal);
                }
                list.add(value, goal_of_value);
                next_low = value.checked_add(1);
            }
            if next_low.is_some_and(|low| low <= high) {
                list.add(high, goal);
                next_low = high.checked_add(1);
            }
        }
        list
    }

    /// The list in another order, if values come late in it that most frames have.
    fn with_frequent_values_first(&self) -> Option<Vec<(u32, Next)>> {
        let is_rare = |(value, _): &(u32, Next)| !FREQUENT.contains(value);
        if self.values.is_sorted_by_key(is_rare) {
            return None;
        }
        let mut values = self.values.clone();
        values.sort_by_key(is_rare);
        Some(values)
    }

    fn add(&mut self, last: u32, goal: Next) {
        match self.ranges.last_mut() {
            Some((previous, same)) if *same == goal => *previous = last,
            _ => self.ranges.push((last, goal)),
        }
    }

    /// Comparisons on the longest way through a tree.
    fn ideal_depth(&self) -> usize {
        self.ranges.len().next_power_of_two().ilog2() as usize + 1
    }
}

/// Makes the tree of a list.
struct Tree<'t> {
    head: &'t Node,
    nodes: &'t mut Vec<Node>,
    is_final: &'t mut Vec<[bool; 2]>,
}

impl Tree<'_> {
    /// Makes the comparisons that tell ranges apart; gives where they begin, and whether that is one of them.
    fn grow(&mut self, ranges: &[(u32, Next)]) -> (Next, bool) {
        let single = |last: u32, value: u32| last.wrapping_add(1) == value;
        match *ranges {
            [] => (Next::Reject, false),
            [(_, goal)] => (goal, false),
            // One value between others that lead to the same goal.
            [(below, outer), (value, goal), (_, other)] if outer == other && single(below, value) => {
                self.push(Condition::Equal(value), (goal, false), (outer, false))
            }
            _ => {
                let (lower, upper) = ranges.split_at(ranges.len() / 2);
                let Some(&(pivot, _)) = lower.last() else { return (Next::Reject, false) };
                let index = self.nodes.len();
                let (this, _) =
                    self.push(Condition::Greater(pivot), (Next::Reject, false), (Next::Reject, false));
                let (yes, yes_is_final) = self.grow(upper);
                let (no, no_is_final) = self.grow(lower);
                if let (Some(node), Some(is_final)) =
                    (self.nodes.get_mut(index), self.is_final.get_mut(index))
                {
                    (node.yes, node.no) = (yes, no);
                    *is_final = [yes_is_final, no_is_final];
                }
                (this, true)
            }
        }
    }

    /// Makes one comparison after the other.
    fn line_up(&mut self, values: &[(u32, Next)], otherwise: Next) {
        for (index, &(value, goal)) in values.iter().enumerate() {
            let following = (Next::Test(self.nodes.len() as u32 + 1), true);
            let no = if index + 1 < values.len() { following } else { (otherwise, false) };
            self.push(Condition::Equal(value), (goal, false), no);
        }
    }

    fn push(&mut self, condition: Condition, yes: (Next, bool), no: (Next, bool)) -> (Next, bool) {
        let index = self.nodes.len() as u32;
        self.nodes.push(Node { condition, yes: yes.0, no: no.0, ..*self.head });
        self.is_final.push([yes.1, no.1]);
        (Next::Test(index), true)
    }
}
