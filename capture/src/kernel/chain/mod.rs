//! The programs of others that are attached to the same interface, before and after ours.
//!
//! On the way in a packet passes XDP, the TCX programs and the clsact filters, on the way out the TCX programs and the
//! clsact filters. Each can drop it, redirect it, or accept it so that no later one sees it. What stands before ours
//! hides packets, and no counter shows it; the kernel does not announce changes, so the chain is queried now and then.

mod member;

use std::io;

use aya::programs::{ProgramError, ProgramInfo};

use self::member::{Member, list};
use super::{
    bpf::{TcxChain, tcx_chain},
    error::causes,
    filter::{Place, filter_at, filters},
    hook::Side,
    interface::{Interface, printable},
    link::link_at,
    object::LoadError,
    program::Programs,
};

/// How often a list is read that lacks a program of ours which is there.
const TRIES: usize = 16;

/// One of our programs where it is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) side: Side,
    /// The program's id.
    pub(super) id: u32,
    /// The hash of its instructions. One with the same hash does the same: it is another capture's, and hides nothing.
    /// With another filter it has another hash.
    pub(super) tag: u64,
    /// Where it is, if it is a clsact filter.
    place: Option<Place>,
}

impl Own {
    /// A program that is attached to one side, by what the kernel says of it.
    pub(super) fn new(side: Side, program: Result<ProgramInfo, ProgramError>) -> Result<Self, LoadError> {
        let program = program.map_err(|error| LoadError::Object(causes(&error)))?;
        Ok(Self { side, id: program.id(), tag: program.tag(), place: None })
    }

    /// The same as a clsact filter.
    pub(super) fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// Whether it is attached although a list of the filters lacks it. An interface that does not answer is gone, which
    /// is said elsewhere.
    fn is_there(&self, interface: u32) -> bool {
        self.place.is_some_and(|place| match filter_at(interface, self.side, place) {
            Ok(found) => found.and_then(|filter| filter.program).is_some_and(|found| found.id == self.id),
            Err(_) => true,
        })
    }
}

/// Another process has detached a program of this capture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "capture was detached from {side} of {} by another process (`tc qdisc del` does that, `bpftool`, too): the \
     capture has ended; start it again",
    printable(.interface)
)]
pub struct Detached {
    /// The interface.
    pub interface: String,
    /// The side.
    pub side: Side,
}

/// A sentence about other programs, without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// What is good to know.
    Note(String),
    /// That packets may be missing.
    Warning(String),
}

/// All programs and filters at one side of an interface, in the order in which they run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    members: Vec<Member>,
    /// Grows by one with each change of the TCX programs.
    revision: u64,
}

impl State {
    /// `None` if the interface is gone.
    fn query(interface: u32, side: Side) -> io::Result<Option<Self>> {
        let TcxChain { revision, programs } = match tcx_chain(interface, side) {
            // There is no program, or the kernel has no TCX, or the interface is gone, which is seen below.
            Err(error)
                if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINVAL | libc::ENODEV)) =>
            {
                TcxChain::default()
            }
            chain => chain?,
        };
        let filters = match filters(interface, side) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENODEV)) => Vec::new(),
            filters => filters?,
        };
        // Last, so that what is missing from an interface that is going away is not missed.
        let Some(link) = link_at(interface)? else { return Ok(None) };
        let xdp = link.xdp.filter(|_| side == Side::Ingress).map(|(id, mode)| Member::Xdp(id, mode));
        let tcx = programs.into_iter().map(Member::Tcx);
        let filters = filters.into_iter().filter_map(Member::of_filter);
        Ok(Some(Self { members: xdp.into_iter().chain(tcx).chain(filters).collect(), revision }))
    }

    /// What `query` gives that has our program, as long as the program `is_there`: lists of clsact filters can lack it.
    /// `None` if the interface is gone, or no list was whole.
    fn whole(
        own: u32,
        mut query: impl FnMut() -> io::Result<Option<Self>>,
        is_there: impl Fn() -> bool,
    ) -> io::Result<Option<Self>> {
        for _ in 0..TRIES {
            let Some(state) = query()? else { return Ok(None) };
            if state.around(own).is_some() || !is_there() {
                return Ok(Some(state));
            }
        }
        Ok(None)
    }

    /// Those before and those after the program with this id, if it is there.
    fn around(&self, id: u32) -> Option<(&[Member], &[Member])> {
        let position = self.members.iter().position(|member| member.id() == Some(id))?;
        Some((self.members.get(..position)?, self.members.get(position + 1..)?))
    }
}

/// Whether more TCX programs have come or gone than the two states show.
fn came_and_went(earlier: &State, now: &State) -> bool {
    let missing = |from: &State, in_other: &State| {
        let tcx = from.members.iter().filter(|member| matches!(member, Member::Tcx(_)));
        tcx.filter(|member| !in_other.members.contains(member)).count() as u64
    };
    now.revision.wrapping_sub(earlier.revision) > missing(earlier, now) + missing(now, earlier)
}

/// The chain at one side, with one of our programs in it.
#[derive(Debug)]
struct Chain {
    own: Own,
    /// What was found last.
    state: Option<State>,
    /// Programs of others that were found before ours.
    before: Vec<Member>,
    programs: Programs,
}

impl Chain {
    fn new(own: Own) -> Self {
        Self { own, state: None, before: Vec::new(), programs: Programs::default() }
    }

    /// Takes in what has been found. `None` if our program is not there.
    fn update(&mut self, interface: &Interface, state: State) -> Option<Vec<Notice>> {
        let Self { own, state: earlier, before: known, programs } = self;
        if earlier.as_ref() == Some(&state) {
            return Some(Vec::new());
        }
        let side = own.side;
        let (before, after) = state.around(own.id)?;
        // To learn of programs is to look through all that are loaded: not where ours is alone.
        let others = state.members.iter().filter_map(Member::id).filter(|id| *id != own.id);
        programs.learn(&others.collect::<Vec<_>>());
        let of_others = |members: &[Member]| -> Vec<Member> {
            members.iter().filter(|member| !member.is_of_capture(own.tag, programs)).cloned().collect()
        };
        let mut notices = Vec::new();
        let before = of_others(before);
        let new = before.iter().filter(|member| !known.contains(member));
        let (xdp, others): (Vec<&Member>, Vec<&Member>) =
            new.partition(|member| matches!(member, Member::Xdp(..)));
        if !xdp.is_empty() {
            let sentence = |who| {
                format!(
                    "before capture on {interface} {side}: {}: what it drops or redirects is {who}",
                    list(&xdp, programs)
                )
            };
            // One that was there before is a note only, and hides from tcpdump what it hides here.
            notices.push(match earlier {
                None => Notice::Note(sentence("printed neither here nor by tcpdump")),
                Some(_) => Notice::Warning(sentence("neither printed nor counted")),
            });
        }
        if !others.is_empty() {
            let verb = if others.len() == 1 {
                "it accepts, drops or redirects"
            } else {
                "they accept, drop or redirect"
            };
            notices.push(Notice::Warning(format!(
                "before capture on {interface} {side}: {}: what {verb} is neither printed nor counted",
                list(&others, programs)
            )));
        }
        *known = before;
        let after = of_others(after);
        match earlier {
            None if !after.is_empty() => {
                let verb = if after.len() == 1 {
                    "it drops, redirects or rewrites"
                } else {
                    "they drop, redirect or rewrite"
                };
                let how = match side {
                    Side::Ingress => "as it came in",
                    Side::Egress => "as it was before",
                };
                notices.push(Notice::Note(format!(
                    "after capture on {interface} {side}: {}: what {verb} is printed {how}",
                    list(&after.iter().collect::<Vec<_>>(), programs)
                )));
            }
            Some(earlier) if came_and_went(earlier, &state) => {
                // A note, because it can have been another capture.
                notices.push(Notice::Note(format!(
                    "on {interface} {side}: programs were attached and detached again between two checks: one that ran \
                     before capture can have hidden packets"
                )));
            }
            _ => {}
        }
        self.state = Some(state);
        Some(notices)
    }
}

/// The chains in which our programs are.
#[derive(Debug)]
pub(super) struct Chains {
    interface: Interface,
    chains: Vec<Chain>,
    /// Whether it was said that the kernel does not answer.
    said_refusal: bool,
}

impl Chains {
    /// The chains of these programs of ours on an interface.
    pub(super) fn new(interface: &Interface, own: &[Own]) -> Self {
        Self {
            interface: interface.clone(),
            chains: own.iter().copied().map(Chain::new).collect(),
            said_refusal: false,
        }
    }

    /// Takes the interface's new name.
    pub(super) fn rename(&mut self, interface: &Interface) {
        self.interface = interface.clone();
    }

    /// Queries the chains. The first time, what stands after our programs is named, too.
    ///
    /// # Errors
    ///
    /// [`Detached`] when one of ours is not there any more.
    pub(super) fn look(&mut self) -> Result<Vec<Notice>, Detached> {
        let Self { interface, chains, said_refusal } = self;
        let mut notices = Vec::new();
        for chain in chains {
            let side = chain.own.side;
            let query = || State::query(interface.index, side);
            match State::whole(chain.own.id, query, || chain.own.is_there(interface.index)) {
                Ok(Some(state)) => {
                    let detached = || Detached { interface: interface.name.clone(), side };
                    notices.extend(chain.update(interface, state).ok_or_else(detached)?);
                }
                // The interface is gone, which is said elsewhere; or the next look sees more.
                Ok(None) => {}
                Err(error) if !*said_refusal => {
                    *said_refusal = true;
                    notices.push(Notice::Warning(format!(
                        "cannot ask which programs are attached to {interface}: {error}: one that hides packets \
                         remains unnoticed"
                    )));
                }
                Err(_) => {}
            }
        }
        Ok(notices)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::filter::{Filter, FilterProgram},
        *,
    };

    // Ids that no program has, so that none has a name.
    const OWN: u32 = u32::MAX;
    const ONE: u32 = u32::MAX - 1;
    const TWO: u32 = u32::MAX - 2;

    fn interface() -> Interface {
        Interface::find("lo").unwrap()
    }

    fn chain(side: Side) -> Chain {
        Chain::new(Own { side, id: OWN, tag: 1, place: None })
    }

    fn tcx(programs: &[u32], revision: u64) -> State {
        State { members: programs.iter().copied().map(Member::Tcx).collect(), revision }
    }

    fn filter(kind: &str, handle: u32, program: Option<(u32, u64)>) -> Member {
        let program = program.map(|(id, tag)| FilterProgram { id, tag, name: "fw\n".to_owned() });
        Member::Filter(Filter { kind: kind.to_owned(), priority: 1, handle, program, ..Filter::default() })
    }

    #[test]
    fn what_comes_before_is_warned_of_once() {
        let mut chain = chain(Side::Egress);
        assert_eq!(chain.update(&interface(), tcx(&[OWN], 2)), Some(vec![]));
        let warning = |id| {
            Notice::Warning(format!(
                "before capture on lo egress: program (id {id}): what it accepts, drops or redirects is neither \
                 printed nor counted"
            ))
        };
        assert_eq!(chain.update(&interface(), tcx(&[ONE, OWN], 3)), Some(vec![warning(ONE)]));
        assert_eq!(chain.update(&interface(), tcx(&[ONE, OWN], 3)), Some(vec![]));
        assert_eq!(chain.update(&interface(), tcx(&[TWO, ONE, OWN], 4)), Some(vec![warning(TWO)]));
        // It leaves and comes back.
        assert_eq!(chain.update(&interface(), tcx(&[TWO, OWN], 5)), Some(vec![]));
        assert_eq!(chain.update(&interface(), tcx(&[TWO, ONE, OWN], 6)), Some(vec![warning(ONE)]));
    }

    #[test]
    fn what_comes_after_is_named_at_the_start_only() {
        let mut chain = chain(Side::Ingress);
        let note = "after capture on lo ingress: program (id 4294967294), program (id 4294967293): what they drop, \
                    redirect or rewrite is printed as it came in";
        assert_eq!(
            chain.update(&interface(), tcx(&[OWN, ONE, TWO], 4)),
            Some(vec![Notice::Note(note.to_owned())])
        );
        assert_eq!(chain.update(&interface(), tcx(&[OWN, ONE, TWO, 7], 5)), Some(vec![]));
    }

    #[test]
    fn a_program_of_ours_that_is_gone_is_missed() {
        let mut chain = chain(Side::Egress);
        chain.update(&interface(), tcx(&[OWN], 2)).unwrap();
        assert_eq!(chain.update(&interface(), tcx(&[], 3)), None);
    }

    #[test]
    fn a_list_that_lacks_a_program_which_is_there_is_read_again() {
        let (torn, whole) = (tcx(&[ONE], 2), tcx(&[ONE, OWN], 2));
        let query = |lists: &[&State]| {
            let mut lists: Vec<State> = lists.iter().rev().copied().cloned().collect();
            move || Ok(lists.pop())
        };
        let settled = State::whole(OWN, query(&[&torn, &torn, &whole, &torn]), || true).unwrap();
        assert_eq!(settled.as_ref(), Some(&whole));
        // What is gone is missed at once.
        let gone = State::whole(OWN, query(&[&torn, &whole]), || false).unwrap();
        assert_eq!(chain(Side::Egress).update(&interface(), gone.unwrap()), None);
        // One list after the other lacks it.
        assert_eq!(State::whole(OWN, || Ok(Some(torn.clone())), || true).unwrap(), None);
        assert_eq!(State::whole(OWN, || Ok(None), || true).unwrap(), None);
    }

    #[test]
    fn another_captures_program_hides_nothing() {
        let mut chain = chain(Side::Egress);
        let members = vec![filter("bpf", 2, Some((ONE, 1))), filter("bpf", 1, Some((OWN, 1)))];
        assert_eq!(chain.update(&interface(), State { members, revision: 0 }), Some(vec![]));
    }

    #[test]
    fn filters_are_named_as_tc_names_them() {
        let mut chain = chain(Side::Egress);
        let u32s = (0..6).map(|number| filter("u32", 0x8000_0800 + number, None));
        let members = [filter("bpf", 3, Some((ONE, 2)))].into_iter().chain(u32s);
        let members = members.chain([filter("bpf", 1, Some((OWN, 1)))]).collect();
        let warning = "before capture on lo egress: the filter pref 1 bpf handle 0x3 fw? (id 4294967294), the filter pref \
                       1 u32 handle 800::800, the filter pref 1 u32 handle 800::801, the filter pref 1 u32 handle \
                       800::802 and 3 more: what they accept, drop or redirect is neither printed nor counted";
        assert_eq!(
            chain.update(&interface(), State { members, revision: 0 }),
            Some(vec![Notice::Warning(warning.to_owned())])
        );
    }

    #[test]
    fn xdp_is_a_note_at_the_start_and_a_warning_later() {
        let with_xdp = State { members: vec![Member::Xdp(ONE, "native"), Member::Tcx(OWN)], revision: 2 };
        let mut early = chain(Side::Ingress);
        let note = "before capture on lo ingress: XDP program (id 4294967294, native): what it drops or redirects is \
                    printed neither here nor by tcpdump";
        assert_eq!(early.update(&interface(), with_xdp.clone()), Some(vec![Notice::Note(note.to_owned())]));
        let mut late = chain(Side::Ingress);
        late.update(&interface(), tcx(&[OWN], 2)).unwrap();
        let notices = late.update(&interface(), with_xdp).unwrap();
        assert!(matches!(&notices[..], [Notice::Warning(_)]), "{notices:?}");
    }

    #[test]
    fn a_program_that_came_and_went_is_noticed() {
        let mut chain = chain(Side::Egress);
        chain.update(&interface(), tcx(&[OWN], 2)).unwrap();
        // Two came, one is there.
        assert_eq!(chain.update(&interface(), tcx(&[OWN, ONE], 3)), Some(vec![]));
        let notices = chain.update(&interface(), tcx(&[OWN, ONE], 5)).unwrap();
        assert!(matches!(&notices[..], [Notice::Note(_)]), "{notices:?}");
        let notices = chain.update(&interface(), tcx(&[OWN], 8)).unwrap();
        assert!(matches!(&notices[..], [Notice::Note(_)]), "{notices:?}");
        assert_eq!(chain.update(&interface(), tcx(&[OWN], 8)), Some(vec![]));
    }
}
