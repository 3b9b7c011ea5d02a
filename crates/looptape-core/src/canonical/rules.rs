//! Which fields of a JSON document are compared how: JSON-pointer patterns, compiled into a tree.

/// What becomes of a field when documents are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Compared as it is. Fields that no pattern names are of this kind.
    Exact,
    /// Left out.
    Ignored,
    /// Left out of the comparison, and collected, so that a difference can be reported.
    Collected,
    /// A string that is replaced by the number of its first occurrence, if renaming is on.
    Renamed,
}

/// A place in a document, as far as the patterns care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(Option<usize>);

impl Place {
    /// Where no pattern can match any more.
    pub const ELSEWHERE: Self = Self(None);
    /// The document itself.
    pub const ROOT: Self = Self(Some(0));
}

/// A compiled set of patterns.
#[derive(Clone, Debug)]
pub struct Rules {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
struct Node {
    treatment: Treatment,
    members: Vec<(Vec<u8>, usize)>,
    element: Option<usize>,
}

impl Node {
    const fn new() -> Self {
        Self { treatment: Treatment::Exact, members: Vec::new(), element: None }
    }
}

impl Rules {
    /// No patterns.
    pub const fn everything_counts() -> &'static Self {
        static NONE: Rules = Rules { nodes: Vec::new() };
        &NONE
    }

    /// Compiles patterns: JSON pointers in which `*` stands for any index of an array (and for nothing
    /// else, so a user's own key never matches by accident).
    pub fn compile<'p>(patterns: impl IntoIterator<Item = (&'p str, Treatment)>) -> Self {
        let mut rules = Self { nodes: vec![Node::new()] };
        for (pattern, treatment) in patterns {
            let at = pattern.split('/').skip(1).fold(0, |at, segment| rules.grow(at, segment));
            rules.nodes[at].treatment = treatment;
        }
        rules
    }

    fn grow(&mut self, at: usize, segment: &str) -> usize {
        let known = if segment == "*" {
            self.nodes[at].element
        } else {
            self.nodes[at].members.iter().find(|(key, _)| key == segment.as_bytes()).map(|&(_, next)| next)
        };
        known.unwrap_or_else(|| {
            let next = self.nodes.len();
            self.nodes.push(Node::new());
            match segment {
                "*" => self.nodes[at].element = Some(next),
                key => self.nodes[at].members.push((key.as_bytes().to_vec(), next)),
            }
            next
        })
    }

    /// The place of an object's member.
    pub fn member(&self, at: Place, key: &[u8]) -> Place {
        let node = self.node(at);
        Place(node.and_then(|n| n.members.iter().find(|(k, _)| k == key)).map(|&(_, next)| next))
    }

    /// The place of an array's elements.
    pub fn element(&self, at: Place) -> Place {
        Place(self.node(at).and_then(|n| n.element))
    }

    pub fn treatment(&self, at: Place) -> Treatment {
        self.node(at).map_or(Treatment::Exact, |n| n.treatment)
    }

    fn node(&self, at: Place) -> Option<&Node> {
        at.0.and_then(|index| self.nodes.get(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_their_places_only() {
        let rules =
            Rules::compile([("/user", Treatment::Ignored), ("/messages/*/content/*/id", Treatment::Renamed)]);
        assert_eq!(rules.treatment(rules.member(Place::ROOT, b"user")), Treatment::Ignored);
        assert_eq!(rules.member(Place::ROOT, b"users"), Place::ELSEWHERE);
        let messages = rules.member(Place::ROOT, b"messages");
        assert_eq!(rules.treatment(messages), Treatment::Exact);
        assert_eq!(rules.member(messages, b"*"), Place::ELSEWHERE);
        let parts = rules.element(rules.member(rules.element(messages), b"content"));
        assert_eq!(rules.treatment(rules.member(parts, b"id")), Treatment::Renamed);
        assert_eq!(rules.element(Place::ROOT), Place::ELSEWHERE);
        assert_eq!(Rules::everything_counts().member(Place::ROOT, b"user"), Place::ELSEWHERE);
    }
}
