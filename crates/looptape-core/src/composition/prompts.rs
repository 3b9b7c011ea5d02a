//! The prompts of a trace's calls, read one after the other.
//!
//! Histories are chains, as they are stored: a node is its parent and one piece more, and a request that goes
//! on from an earlier one adds the nodes that are new in it. So a trace costs what its steps added, and equal
//! beginnings are equal nodes.
//!
//! Whoever reads the bodies hands over only what is not known yet ([`Prompts::knows`]).

use super::piece::{self, Piece, Said};
use super::{Composition, Section, Tally, Tokenizer};
use crate::assembly::CallIndex;
use crate::chain;
use crate::facts::{CallFacts, CallKind};
use crate::fingerprint::Fingerprint;
use crate::replay::components::{Component, component_of};
use crate::usage::TokenUsage;
use crate::wire::{Message, ResponseView, Wire};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// Tokens that a piece takes beside its text, for its role and its separators.
const FRAME_TOKENS: u64 = 3;
/// Tokens of an image, a sound or a file: nothing better is known without its size.
const ATTACHMENT_TOKENS: u64 = 1000;

/// The beginning of a recorded history: equal marks, equal beginnings. Its number means something to whoever
/// reads the bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mark(pub i64);

/// A request body in parts, its content encoding undone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestParts {
    /// The body with its history left out; all of it where the history is not a top-level array of its own.
    pub rest: Bytes,
    /// The longest beginning of the history that is known already.
    pub known: Option<Mark>,
    /// The rest of the history, in stretches of whole elements, each with the mark of where it ends.
    pub new: Vec<(Mark, Bytes)>,
}

/// A piece, by its place among the distinct pieces of the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PieceId(usize);

/// A history, by its last node; 0 is the empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct NodeId(usize);

#[derive(Clone, Copy, Debug)]
struct Node {
    parent: NodeId,
    piece: PieceId,
    depth: usize,
}

/// A piece's tokens, by the tokenizers that have counted it.
#[derive(Clone, Copy, Debug, Default)]
struct Counts([Option<u64>; Tokenizer::COUNT]);

/// The prompt of one call.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Tool definitions, then the system prompt.
    opening: Vec<PieceId>,
    history: NodeId,
    tokenizer: Tokenizer,
    /// Whether part of the history is not in the recording, because the provider keeps it.
    has_hidden: bool,
}

/// A stretch of a prompt's tokens that one piece takes; `None` is what the provider keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromptToken {
    pub piece: Option<PieceId>,
    /// Where it ends, in tokens from the prompt's beginning.
    pub end: u64,
}

/// What stands in a body beside its history.
#[derive(Clone, Debug, Default)]
struct Opening {
    pieces: Vec<PieceId>,
    /// Said outside the history's array.
    said: Vec<PieceId>,
    names_hidden: bool,
}

/// Which pieces were in some prompt.
#[derive(Clone, Debug, Default)]
pub struct SeenPieces(Vec<bool>);

/// All prompts of a trace.
#[derive(Debug)]
pub struct Prompts {
    pieces: Vec<Piece>,
    ids: HashMap<Fingerprint, PieceId>,
    nodes: Vec<Node>,
    links: HashMap<(NodeId, PieceId), NodeId>,
    marks: HashMap<(Wire, Mark), NodeId>,
    openings: HashMap<Fingerprint, Opening>,
    prompts: HashMap<CallIndex, Prompt>,
    /// Response ids that later requests go on from.
    named: HashSet<String>,
    answered: HashMap<String, NodeId>,
    /// By piece.
    counts: Vec<Counts>,
    tallies: HashMap<(Tokenizer, NodeId), Tally>,
}

impl Prompts {
    /// Of a trace of which nothing is read yet.
    pub fn of(facts: &[CallFacts]) -> Self {
        let root = Node { parent: NodeId(0), piece: PieceId(usize::MAX), depth: 0 };
        Self {
            pieces: Vec::new(),
            ids: HashMap::new(),
            nodes: vec![root],
            links: HashMap::new(),
            marks: HashMap::new(),
            openings: HashMap::new(),
            prompts: HashMap::new(),
            named: facts.iter().filter_map(|fact| fact.previous_response_id.clone()).collect(),
            answered: HashMap::new(),
            counts: Vec::new(),
            tallies: HashMap::new(),
        }
    }

    /// Whether this beginning of a history in this format was read.
    pub fn knows(&self, wire: Wire, mark: Mark) -> bool {
        self.marks.contains_key(&(wire, mark))
    }

    /// Whether a later request goes on from this call's answer without repeating it.
    pub fn needs_answer(&self, facts: &CallFacts) -> bool {
        facts.response_id.as_ref().is_some_and(|id| self.named.contains(id))
    }

    /// Reads the prompt of a model call. Calls are added in the order in which they started.
    pub fn add(&mut self, call: CallIndex, facts: &CallFacts, request: &RequestParts) {
        let CallKind::Llm(wire) = facts.kind else { return };
        let path = facts.endpoint.split_once(' ').map_or("", |(_, path)| path);
        let opening = self.opening(wire, path, &request.rest);
        let known = request.known.and_then(|mark| self.marks.get(&(wire, mark)).copied());
        let mut history = known.unwrap_or_default();
        for (mark, stretch) in &request.new {
            history = self.read_stretch(wire, history, stretch);
            self.marks.insert((wire, *mark), history);
        }
        history = self.append(history, &opening.said);
        let before = facts.previous_response_id.as_ref().map(|id| self.answered.get(id).copied());
        if let Some(Some(before)) = before {
            history = self.append(before, &self.path(history));
        }
        let model = facts.response_model.as_deref().or(facts.model.as_deref());
        let prompt = Prompt {
            opening: opening.pieces,
            history,
            tokenizer: Tokenizer::of(facts.provider.as_str(), model),
            has_hidden: before == Some(None) || opening.names_hidden,
        };
        self.count(&prompt);
        self.prompts.insert(call, prompt);
    }

    /// Reads a call's answer, from which a later request goes on.
    pub fn add_answer(&mut self, call: CallIndex, facts: &CallFacts, answer: &ResponseView) {
        let (CallKind::Llm(wire), Some(id)) = (facts.kind, &facts.response_id) else { return };
        let Some(prompt) = self.prompts.get(&call) else { return };
        let history = prompt.history;
        let pieces = self.intern_all(piece::of_answer(answer, wire));
        let history = self.append(history, &pieces);
        self.answered.insert(id.clone(), history);
    }

    pub fn prompt(&self, call: CallIndex) -> Option<&Prompt> {
        self.prompts.get(&call)
    }

    pub fn piece(&self, id: PieceId) -> &Piece {
        &self.pieces[id.0]
    }

    /// The pieces of a prompt that were in none of those asked about before with the same `seen`.
    pub fn new_pieces(&self, prompt: &Prompt, seen: &mut SeenPieces) -> Vec<PieceId> {
        seen.0.resize(self.pieces.len(), false);
        let mut pieces = self.pieces_of(prompt);
        pieces.retain(|piece| !std::mem::replace(&mut seen.0[piece.0], true));
        pieces
    }

    /// Every distinct piece.
    pub fn pieces(&self) -> impl Iterator<Item = (PieceId, &Piece)> {
        self.pieces.iter().enumerate().map(|(at, piece)| (PieceId(at), piece))
    }

    /// The pieces of a prompt, in order.
    pub fn pieces_of(&self, prompt: &Prompt) -> Vec<PieceId> {
        let mut pieces = prompt.opening.clone();
        pieces.extend(self.path(prompt.history));
        pieces
    }

    /// The stretches that the pieces take of a prompt of `input_tokens`. They end where the prompt ends; none
    /// if nothing of it could be read.
    pub fn stretches(&self, prompt: &Prompt, input_tokens: u64) -> Vec<PromptToken> {
        let pieces = self.pieces_of(prompt);
        let weight = |piece: &PieceId| self.counted(prompt.tokenizer, *piece);
        let visible: u64 = pieces.iter().map(weight).sum();
        let hidden = prompt.hidden(visible, Some(input_tokens));
        let (mut before, all) = (hidden, hidden + visible);
        let mut stretches = Vec::with_capacity(pieces.len() + 1);
        if hidden > 0 {
            stretches.push(PromptToken { piece: None, end: super::scale::point(input_tokens, hidden, all) });
        }
        for piece in pieces {
            before += weight(&piece);
            let end = super::scale::point(input_tokens, before, all);
            stretches.push(PromptToken { piece: Some(piece), end });
        }
        stretches
    }

    /// How many pieces two prompts have in common at their beginnings.
    pub fn common(&self, a: &Prompt, b: &Prompt) -> usize {
        let same = a.opening.iter().zip(&b.opening).take_while(|(a, b)| a == b).count();
        if same < a.opening.len() || same < b.opening.len() {
            return same;
        }
        same + self.nodes[self.common_node(a.history, b.history).0].depth
    }

    /// What a call's prompt consists of; `None` if it was not read. `usage` is what the provider reported.
    pub fn composition(&self, call: CallIndex, usage: &TokenUsage) -> Option<Composition> {
        let prompt = self.prompts.get(&call)?;
        let mut tally = self.tallies.get(&(prompt.tokenizer, prompt.history)).copied().unwrap_or_default();
        for piece in &prompt.opening {
            tally.add(self.pieces[piece.0].section, self.counted(prompt.tokenizer, *piece));
        }
        let hidden = prompt.hidden(tally.total(), usage.input_total);
        tally.add(Section::HeldByProvider, hidden);
        Some(Composition::new(tally, usage.input_total, prompt.tokenizer))
    }

    fn opening(&mut self, wire: Wire, path: &str, rest: &Bytes) -> Opening {
        let key = Fingerprint::of_parts(&[wire.as_str().as_bytes(), path.as_bytes(), rest]);
        if let Some(known) = self.openings.get(&key) {
            return known.clone();
        }
        let Ok(body) = serde_json::from_slice::<Value>(rest) else { return Opening::default() };
        let mut pieces = definitions(wire, path, &body);
        let request = wire.decode_request(path, &body);
        pieces.extend(piece::of_system(&request.system, wire));
        let said: Vec<Piece> = request.messages.iter().flat_map(|m| piece::of_message(m, wire)).collect();
        let names = |member: &str| body.get(member).is_some_and(|value| !value.is_null());
        let opening = Opening {
            pieces: self.intern_all(pieces),
            said: self.intern_all(said),
            names_hidden: names("cachedContent") || names("conversation"),
        };
        self.openings.insert(key, opening.clone());
        opening
    }

    /// Adds elements of a history's array, written one after the other.
    fn read_stretch(&mut self, wire: Wire, mut history: NodeId, stretch: &[u8]) -> NodeId {
        let Some((_, read)) = wire.history() else { return history };
        let array = [b"{\"h\":[", chain::element(stretch), b"]}"].concat();
        let split = chain::split(&array);
        for range in split.cuts.iter().flat_map(|cut| &cut.pieces) {
            let element = chain::element(&array[range.clone()]);
            let message: Message = match wire.read_plain_message(element) {
                Some(plain) => plain,
                None => read(&serde_json::from_slice(element).unwrap_or_default()),
            };
            let pieces = self.intern_all(piece::of_message(&message, wire));
            history = self.append(history, &pieces);
        }
        history
    }

    fn intern_all(&mut self, pieces: Vec<Piece>) -> Vec<PieceId> {
        pieces.into_iter().map(|piece| self.intern(piece)).collect()
    }

    fn intern(&mut self, piece: Piece) -> PieceId {
        let next = PieceId(self.pieces.len());
        let id = *self.ids.entry(piece.mark()).or_insert(next);
        if id == next {
            self.pieces.push(piece);
            self.counts.push(Counts::default());
        }
        id
    }

    fn append(&mut self, history: NodeId, pieces: &[PieceId]) -> NodeId {
        pieces.iter().fold(history, |parent, piece| {
            let next = NodeId(self.nodes.len());
            let node = *self.links.entry((parent, *piece)).or_insert(next);
            if node == next {
                let depth = self.nodes[parent.0].depth + 1;
                self.nodes.push(Node { parent, piece: *piece, depth });
            }
            node
        })
    }

    /// The pieces of a history, in order.
    fn path(&self, history: NodeId) -> Vec<PieceId> {
        let mut pieces = Vec::with_capacity(self.nodes[history.0].depth);
        let mut at = history;
        while at != NodeId(0) {
            pieces.push(self.nodes[at.0].piece);
            at = self.nodes[at.0].parent;
        }
        pieces.reverse();
        pieces
    }

    fn common_node(&self, mut a: NodeId, mut b: NodeId) -> NodeId {
        while a != b {
            let (of_a, of_b) = (self.nodes[a.0], self.nodes[b.0]);
            if of_a.depth >= of_b.depth {
                a = of_a.parent;
            }
            if of_b.depth >= of_a.depth {
                b = of_b.parent;
            }
        }
        a
    }

    /// Counts what of a prompt has not been counted yet.
    fn count(&mut self, prompt: &Prompt) {
        let tokenizer = prompt.tokenizer;
        prompt.opening.iter().for_each(|piece| {
            self.tokens(tokenizer, *piece);
        });
        let mut uncounted = Vec::new();
        let mut at = prompt.history;
        while at != NodeId(0) && !self.tallies.contains_key(&(tokenizer, at)) {
            uncounted.push(at);
            at = self.nodes[at.0].parent;
        }
        let mut tally = self.tallies.get(&(tokenizer, at)).copied().unwrap_or_default();
        for node in uncounted.into_iter().rev() {
            let piece = self.nodes[node.0].piece;
            tally.add(self.pieces[piece.0].section, self.tokens(tokenizer, piece));
            self.tallies.insert((tokenizer, node), tally);
        }
    }

    fn tokens(&mut self, tokenizer: Tokenizer, piece: PieceId) -> u64 {
        *self.counts[piece.0].0[tokenizer as usize].get_or_insert_with(|| {
            let Piece { text, attachments, .. } = &self.pieces[piece.0];
            FRAME_TOKENS + tokenizer.count(text) + u64::from(*attachments) * ATTACHMENT_TOKENS
        })
    }

    /// Those of a piece of a prompt that was added: it was counted then.
    fn counted(&self, tokenizer: Tokenizer, piece: PieceId) -> u64 {
        self.counts[piece.0].0[tokenizer as usize].unwrap_or(0)
    }
}

impl Prompt {
    pub fn tokenizer(&self) -> Tokenizer {
        self.tokenizer
    }

    /// Tokens of what the provider keeps: those of its count for which there is nothing in the recording.
    fn hidden(&self, visible: u64, reported: Option<u64>) -> u64 {
        match reported {
            Some(reported) if self.has_hidden => reported.saturating_sub(visible),
            _ => 0,
        }
    }
}

/// The tool definitions of a body, one piece each where the format has them so.
fn definitions(wire: Wire, path: &str, body: &Value) -> Vec<Piece> {
    let Some(members) = body.as_object() else { return Vec::new() };
    let names = |name: &str, value: Value| wire.decode_request(path, &json!({ name: value })).tools;
    let mut pieces = Vec::new();
    for (name, value) in members {
        if component_of(wire, name.as_bytes()) != Component::Tools {
            continue;
        }
        match value {
            Value::Array(tools) => {
                let piece = |tool: &Value| Piece::of_definition(names(name, json!([tool])), tool);
                pieces.extend(tools.iter().map(piece));
            }
            Value::Null => {}
            other => pieces.push(Piece::of_definition(names(name, other.clone()), other)),
        }
    }
    pieces
}

impl Piece {
    /// Bytes of its text.
    pub fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    /// The tools that it defines.
    pub fn defines(&self) -> &[String] {
        match &self.said {
            Said::Definition { tools } => tools,
            Said::Text | Said::Answer { .. } | Said::Result { .. } => &[],
        }
    }
}
