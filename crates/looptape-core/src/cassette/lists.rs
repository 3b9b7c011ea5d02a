//! Lists of references, each as what it adds to an earlier one.
//!
//! Agents send their whole history with every call; a call's file says only where it follows an earlier call's
//! list, and what comes then. Lists share their beginnings in memory too: a list is a head of a tree.

use super::error::CassetteError;
use super::shelf::Reference;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, VecDeque};

/// How many lists a new one is compared with.
const RECENT: usize = 16;

/// A list in a call's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum ListFile {
    Whole(Vec<Reference>),
    Follows {
        /// The number of the call whose list it follows, from 1.
        call: u64,
        /// How many of that list's entries it has; all if it does not say.
        #[serde(skip_serializing_if = "Option::is_none")]
        first: Option<usize>,
        /// What comes then.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        then: Vec<Reference>,
    },
}

/// The latest lists of each member.
#[derive(Debug, Default)]
pub(super) struct RecentLists(HashMap<String, VecDeque<(u64, Vec<Reference>)>>);

impl RecentLists {
    /// A list as it is written down; it is remembered.
    pub(super) fn file(&mut self, call: u64, member: &str, list: Vec<Reference>) -> ListFile {
        let recent = self.0.entry(member.to_owned()).or_default();
        let shared = |other: &[Reference]| other.iter().zip(&list).take_while(|(a, b)| a == b).count();
        let longest = recent.iter().map(|(call, other)| (shared(other), *call, other.len()));
        let file = match longest.max().filter(|(shared, ..)| *shared > 0) {
            None => ListFile::Whole(list.clone()),
            Some((shared, call, length)) => ListFile::Follows {
                call,
                first: (shared < length).then_some(shared),
                then: list[shared..].to_vec(),
            },
        };
        recent.push_back((call, list));
        if recent.len() > RECENT {
            recent.pop_front();
        }
        file
    }
}

/// Lists that were read, as a tree of their entries.
#[derive(Debug, Default)]
pub(super) struct ListTree {
    nodes: Vec<Node>,
    heads: HashMap<(u64, String), usize>,
}

#[derive(Debug)]
struct Node {
    entry: Reference,
    before: Option<usize>,
    length: usize,
}

impl ListTree {
    /// A list that was written down; it is remembered.
    pub(super) fn read(
        &mut self,
        call: u64,
        member: &str,
        file: ListFile,
    ) -> Result<Vec<Reference>, CassetteError> {
        let (mut head, then) = match file {
            ListFile::Whole(list) => (None, list),
            ListFile::Follows { call: earlier, first, then } => {
                (Some(self.beginning(call, earlier, member, first)?), then)
            }
        };
        for entry in then {
            let length = self.length(head) + 1;
            self.nodes.push(Node { entry, before: head, length });
            head = Some(self.nodes.len() - 1);
        }
        if let Some(head) = head {
            self.heads.insert((call, member.to_owned()), head);
        }
        Ok(self.entries(head))
    }

    /// The end of the first `first` entries of an earlier call's list.
    fn beginning(
        &self,
        call: u64,
        earlier: u64,
        member: &str,
        first: Option<usize>,
    ) -> Result<usize, CassetteError> {
        let missing = || {
            let detail = format!("its {member} follow those of call {earlier}, which has no such list");
            CassetteError::invalid(format!("the file of call {call}"), detail)
        };
        let mut head = *self.heads.get(&(earlier, member.to_owned())).ok_or_else(missing)?;
        let wanted = first.unwrap_or(self.nodes[head].length);
        while self.nodes[head].length > wanted {
            head = self.nodes[head].before.ok_or_else(missing)?;
        }
        if self.nodes[head].length == wanted { Ok(head) } else { Err(missing()) }
    }

    fn length(&self, head: Option<usize>) -> usize {
        head.map_or(0, |head| self.nodes[head].length)
    }

    fn entries(&self, head: Option<usize>) -> Vec<Reference> {
        let mut entries = Vec::with_capacity(self.length(head));
        let mut at = head;
        while let Some(node) = at.map(|at| &self.nodes[at]) {
            entries.push(node.entry.clone());
            at = node.before;
        }
        entries.reverse();
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(text: &str) -> Vec<Reference> {
        text.chars().map(|c| Reference::from(c.to_string())).collect()
    }

    #[test]
    fn a_history_is_what_it_adds() {
        let mut recent = RecentLists::default();
        assert_eq!(recent.file(1, "messages", list("ab")), ListFile::Whole(list("ab")));
        let follows = |call, first, then| ListFile::Follows { call, first, then: list(then) };
        assert_eq!(recent.file(2, "messages", list("abcd")), follows(1, None, "cd"));
        assert_eq!(recent.file(3, "messages", list("abx")), follows(2, Some(2), "x"));
        assert_eq!(recent.file(4, "messages", list("abcd")), follows(2, None, ""));
        assert_eq!(recent.file(5, "tools", list("ab")), ListFile::Whole(list("ab")));
        let text = serde_json::to_string(&follows(2, Some(2), "x")).unwrap();
        assert_eq!(text, r#"{"call":2,"first":2,"then":["x"]}"#);
        assert_eq!(serde_json::from_str::<ListFile>(&text).unwrap(), follows(2, Some(2), "x"));
    }

    #[test]
    fn what_follows_nothing_is_refused() {
        let mut tree = ListTree::default();
        tree.read(1, "m", ListFile::Whole(list("ab"))).unwrap();
        for (call, first) in [(2, None), (1, Some(3)), (1, Some(0))] {
            let file = ListFile::Follows { call, first, then: Vec::new() };
            assert!(tree.read(3, "m", file).is_err(), "{call} {first:?}");
        }
    }

    proptest! {
        #[test]
        fn lists_come_back(lists in prop::collection::vec("[abc]{0,6}", 0..40)) {
            let (mut recent, mut tree) = (RecentLists::default(), ListTree::default());
            for (text, call) in lists.iter().zip(1..) {
                let file = recent.file(call, "m", list(text));
                prop_assert_eq!(tree.read(call, "m", file).unwrap(), list(text));
            }
        }
    }
}
