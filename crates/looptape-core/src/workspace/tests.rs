use super::*;
use crate::Digest;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
struct Memory(HashMap<Digest, Tree>);

impl Memory {
    fn add(&mut self, tree: Tree) -> Digest {
        let digest = Digest::of(&tree.encode());
        self.0.insert(digest, tree);
        digest
    }

    /// A folder from the texts of its files by path.
    fn folder(&mut self, files: &BTreeMap<String, String>) -> Digest {
        let mut folders: BTreeMap<&str, BTreeMap<String, String>> = BTreeMap::new();
        let mut tree = Tree::default();
        for (path, text) in files {
            match path.split_once('/') {
                Some((folder, rest)) => {
                    folders.entry(folder).or_default().insert(rest.to_owned(), text.clone());
                }
                None => {
                    tree.entries.insert(Name::new(path.as_bytes()).unwrap(), file(text));
                }
            }
        }
        for (name, files) in folders {
            let digest = self.folder(&files);
            tree.entries.insert(Name::new(name.as_bytes()).unwrap(), Entry::Folder { digest, mode: 0o755 });
        }
        self.add(tree)
    }
}

impl Trees for Memory {
    type Error = Digest;

    fn tree(&mut self, digest: Digest) -> Result<Tree, Digest> {
        self.0.get(&digest).cloned().ok_or(digest)
    }
}

fn file(text: &str) -> Entry {
    let digest = Digest::of(text.as_bytes());
    Entry::File { digest, size_bytes: text.len() as u64, mode: 0o644, kept: Kept::Whole }
}

fn files(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
}

fn told(memory: &mut Memory, before: Digest, after: Digest) -> Vec<String> {
    let found = changes(memory, before, after).unwrap();
    let line = |change: &Change| {
        let mark = match change.kind {
            ChangeKind::Added(_) => 'A',
            ChangeKind::Removed(_) => 'D',
            ChangeKind::Changed { .. } => 'M',
        };
        format!("{mark} {}", String::from_utf8_lossy(&change.path))
    };
    found.iter().map(line).collect()
}

#[test]
fn changes_are_told_by_path() {
    let mut memory = Memory::default();
    let before = memory.folder(&files(&[("a", "1"), ("b/c", "2"), ("b/d", "3"), ("e/f/g", "4"), ("x", "5")]));
    let after = memory.folder(&files(&[("a", "1"), ("b/c", "9"), ("b/d", "3"), ("n/m", "6"), ("x/y", "7")]));
    assert_eq!(told(&mut memory, before, after), ["M b/c", "D e/f/g", "A n/m", "D x", "A x/y"]);
    assert_eq!(told(&mut memory, before, before), [""; 0]);
}

#[test]
fn folders_that_are_the_same_are_not_looked_into() {
    let mut memory = Memory::default();
    let same = Digest::of(b"nobody has this tree");
    let mut root = |text: &str| {
        let folder = Entry::Folder { digest: same, mode: 0o755 };
        let entries =
            BTreeMap::from([(Name::new(b"a").unwrap(), file(text)), (Name::new(b"same").unwrap(), folder)]);
        memory.add(Tree { entries })
    };
    let (before, after) = (root("1"), root("2"));
    assert_eq!(told(&mut memory, before, after), ["M a"]);
}

#[test]
fn an_empty_folder_is_something_too() {
    let mut memory = Memory::default();
    let empty = memory.add(Tree::default());
    let with = |digest, mode| {
        let entries = BTreeMap::from([(Name::new(b"d").unwrap(), Entry::Folder { digest, mode })]);
        Tree { entries }
    };
    let (open, closed) = (memory.add(with(empty, 0o755)), memory.add(with(empty, 0o700)));
    assert_eq!(told(&mut memory, empty, open), ["A d"]);
    assert_eq!(told(&mut memory, open, closed), ["M d"]);
    assert_eq!(told(&mut memory, closed, empty), ["D d"]);
}

#[test]
fn hostile_trees_are_refused() {
    let name = |name: &[u8]| [&[1, name.len() as u8][..], name, &[2, 1, b'x']].concat();
    assert!(Tree::decode(&name(b"ok")).is_ok());
    for hostile in [&b".."[..], b".", b"", b"a/b", b"a\0b"] {
        assert_eq!(Tree::decode(&name(hostile)), Err(TreeError::Damaged), "{hostile:?}");
    }
    let twice = [&name(b"a")[..], &name(b"a")[1..]].concat();
    assert_eq!(Tree::decode(&twice), Err(TreeError::Damaged));
    assert_eq!(Tree::decode(b""), Err(TreeError::Truncated));
    assert_eq!(Tree::decode(&[9]), Err(TreeError::Newer));
    // Permissions beyond those of a file, such as setuid.
    let setuid = [&[1, 1, b'a', 3, 0x80 | 0x6d, 0x13][..], &[0; 32]].concat();
    assert_eq!(Tree::decode(&setuid), Err(TreeError::Damaged));
}

fn entry() -> impl Strategy<Value = Entry> {
    let mode = || 0u16..=0o777;
    let digest = || any::<[u8; 32]>().prop_map(Digest);
    let why = prop::sample::select(vec![
        LeftOut::Secret,
        LeftOut::TooLarge,
        LeftOut::BeyondTotal,
        LeftOut::Unreadable,
        LeftOut::Special,
    ]);
    let kept = prop::sample::select(vec![Kept::Whole, Kept::WithoutSecrets]);
    prop_oneof![
        (digest(), any::<u64>(), mode(), kept).prop_map(|(digest, size_bytes, mode, kept)| Entry::File {
            digest,
            size_bytes,
            mode,
            kept
        }),
        prop::collection::vec(1u8.., 1..20).prop_map(|target| Entry::Link { target }),
        (digest(), mode()).prop_map(|(digest, mode)| Entry::Folder { digest, mode }),
        (why, prop::option::of(0..u64::MAX)).prop_map(|(why, size_bytes)| Entry::LeftOut { why, size_bytes }),
    ]
}

fn tree() -> impl Strategy<Value = Tree> {
    let name = prop::collection::vec(any::<u8>(), 1..12).prop_filter_map("a name", |n| Name::new(&n));
    prop::collection::btree_map(name, entry(), 0..12).prop_map(|entries| Tree { entries })
}

/// The files of a folder, few names so that two folders have some in common.
fn some_files() -> impl Strategy<Value = BTreeMap<String, String>> {
    let path = prop::sample::select(vec!["a", "b", "d/a", "d/b", "d/e/f", "g/h", "g/i"]);
    prop::collection::btree_map(path.prop_map(str::to_owned), "[xy]", 0..7)
}

proptest! {
    #[test]
    fn round_trip(tree in tree()) {
        prop_assert_eq!(Tree::decode(&tree.encode()), Ok(tree));
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = Tree::decode(&[&[1][..], &bytes].concat());
    }

    /// Whoever applies the changes to the first folder has the second one.
    #[test]
    fn changes_lead_from_one_to_the_other(before in some_files(), after in some_files()) {
        let mut memory = Memory::default();
        let (first, second) = (memory.folder(&before), memory.folder(&after));
        let mut made: BTreeMap<String, Entry> = before.iter().map(|(p, t)| (p.clone(), file(t))).collect();
        for change in changes(&mut memory, first, second).unwrap() {
            let path = String::from_utf8(change.path).unwrap();
            match change.kind {
                ChangeKind::Added(entry) => prop_assert!(made.insert(path, entry).is_none()),
                ChangeKind::Removed(entry) => prop_assert_eq!(made.remove(&path), Some(entry)),
                ChangeKind::Changed { before, after } => prop_assert_eq!(made.insert(path, after), Some(before)),
            }
        }
        let expected: BTreeMap<String, Entry> = after.iter().map(|(p, t)| (p.clone(), file(t))).collect();
        prop_assert_eq!(made, expected);
    }
}
