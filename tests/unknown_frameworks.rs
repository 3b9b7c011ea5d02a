//! Frameworks of another shape than the hooks know: the agent runs as without looptape, and one line says so.

use crate::env::{Ran, TestEnv};
use std::fs;
use std::io::Write;
use std::path::Path;

/// A folder with packages, and what may load them.
struct Packages {
    env: TestEnv,
    folder: tempfile::TempDir,
}

impl Packages {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let mut env = TestEnv::new();
        env.set("PYTHONPATH", folder.path().to_str().unwrap());
        Self { env, folder }
    }

    fn record(&self, command: &[&str]) -> Ran {
        self.env.looptape(&[&["record", "--"], command].concat())
    }
}

/// What is said of hooks.
fn remarks(ran: &Ran) -> Vec<String> {
    let lines = ran.stderr.lines().filter(|line| line.contains("hook"));
    lines.map(|line| line.trim_start_matches("looptape: ").to_owned()).collect()
}

/// Runs a Python program that uses a package, alone and recorded: it says the same, and so is `remark` said, once.
fn python(files: &[(&str, &str)], program: &str, remark: &str) {
    let packages = Packages::new(files);
    let recorded = packages.record(&["python3", "-c", program]);
    assert_eq!((recorded.code, recorded.stdout.as_str()), (Some(0), "the tool ran\n"), "{recorded:?}");
    let said = remarks(&recorded);
    assert_eq!(said.len(), 1, "{recorded:?}");
    assert!(said[0].contains(remark), "{}", said[0]);
    let unhooked = packages.env.looptape(&["record", "--no-tool-hooks", "--", "python3", "-c", program]);
    assert_eq!((&unhooked.stdout, remarks(&unhooked).len()), (&recorded.stdout, 0));
}

#[test]
fn langchain() {
    let use_it = "from langchain_core.tools.base import BaseTool\nBaseTool().run({}, 'id')";
    for (base, remark) in [
        (
            "class BaseTool:\n    def run(self, given, call): print('the tool ran')\n",
            "BaseTool.run takes no tool_call_id",
        ),
        ("class Tool:\n    def run(self, given, call): print('the tool ran')\nimport sys\n", "BaseTool"),
    ] {
        let use_it = if base.starts_with("class Tool") {
            use_it.replace("BaseTool", "Tool")
        } else {
            use_it.to_owned()
        };
        let files = [
            ("langchain_core/__init__.py", ""),
            ("langchain_core/tools/__init__.py", ""),
            ("langchain_core/tools/base.py", base),
        ];
        python(&files, &use_it, remark);
    }
}

#[test]
fn openai_agents() {
    let tool = "class FunctionTool: pass\nasync def invoke(tool): print('the tool ran')\n";
    let files = [
        ("agents/__init__.py", ""),
        ("agents/tool.py", tool),
        (
            "openai_agents-9.9.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: openai-agents\nVersion: 9.9\n",
        ),
    ];
    let program = "import asyncio\nfrom agents import tool\nasyncio.run(tool.invoke(tool.FunctionTool()))";
    python(
        &files,
        program,
        "openai-agents 9.9 is not known (there is no invoke_function_tool of the known shape)",
    );

    // A package of the user's own that happens to have the name is none of ours.
    let packages = Packages::new(&files[..2]);
    let recorded = packages.record(&["python3", "-c", program]);
    assert_eq!((recorded.stdout.as_str(), remarks(&recorded).len()), ("the tool ran\n", 0), "{recorded:?}");
}

#[test]
fn pydantic_ai() {
    let toolset = "class FunctionToolset:\n    async def call_tool(self, call): print('the tool ran')\n";
    let files = [
        ("pydantic_ai/__init__.py", ""),
        ("pydantic_ai/toolsets/__init__.py", ""),
        ("pydantic_ai/toolsets/function.py", toolset),
    ];
    let program = "import asyncio\nfrom pydantic_ai.toolsets.function import FunctionToolset\nasyncio.run(FunctionToolset().call_tool(1))";
    python(&files, program, "FunctionToolset.call_tool is not of the known shape");
}

#[test]
fn smolagents() {
    let files = [
        ("smolagents/__init__.py", ""),
        ("smolagents/agents.py", "class ToolCallingAgent: pass\n"),
        ("smolagents/tools.py", "class Tool:\n    def __call__(self, given): print('the tool ran')\n"),
    ];
    let program = "import smolagents.agents\nfrom smolagents.tools import Tool\nTool()(1)";
    python(&files, program, "Tool.__call__ takes no sanitize_inputs_outputs");
    // The module beside it is gone.
    let files = [files[0], ("smolagents/agents.py", "def call(): print('the tool ran')\n")];
    python(
        &files,
        "from smolagents.agents import call\ncall()",
        "smolagents.agents was not hooked: ImportError",
    );
}

/// Runs a Node program that uses a package, alone and recorded.
fn node(files: &[(&str, &str)], program: &str, remark: &str) {
    if std::process::Command::new("node").arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr().lock(), "SKIPPED unknown frameworks in Node: there is no node");
        return;
    }
    let packages = Packages::new(&[files, &[("agent.cjs", program)]].concat());
    let agent = packages.folder.path().join("agent.cjs");
    let recorded = packages.record(&["node", agent.to_str().unwrap()]);
    assert_eq!((recorded.code, recorded.stdout.as_str()), (Some(0), "the tool ran\n"), "{recorded:?}");
    let said = remarks(&recorded);
    assert_eq!(said.len(), 1, "{recorded:?}");
    assert!(said[0].contains(remark), "{}", said[0]);
    assert!(Path::new(&agent).exists());
}

const VERCEL: &str = "exports.generateText = generateText;\nasync function generateText(request) { request.tools.t.execute(); }\n";
const USES_VERCEL: &str =
    "require('ai').generateText({ tools: { t: { execute: () => console.log('the tool ran') } } });\n";

#[test]
fn vercel_ai() {
    let files =
        |version, text| [("node_modules/ai/package.json", version), ("node_modules/ai/dist/index.js", text)];
    let package = r#"{"name":"ai","version":"9.0.1","main":"dist/index.js"}"#;
    let both = format!("{VERCEL}function streamText() {{}}\n");
    node(&files(package, &both), USES_VERCEL, "ai 9.0.1 is not known (only 4.x, 5.x, 6.x is)");
    let known = r#"{"name":"ai","version":"6.9.9","main":"dist/index.js"}"#;
    node(&files(known, VERCEL), USES_VERCEL, "ai 6.9.9 is not known (it has no streamText)");
    let unnamed = r#"{"name":"ai","main":"dist/index.js"}"#;
    node(&files(unnamed, &both), USES_VERCEL, "is not known");
    let broken = [("node_modules/ai/dist/index.js", both.as_str())];
    let by_path = USES_VERCEL.replace("'ai'", "'./node_modules/ai/dist/index.js'");
    node(&broken, &by_path, "was not hooked");
}

#[test]
fn openai_agents_for_node() {
    let files = [
        ("node_modules/@openai/agents-core/package.json", r#"{"version":"0.99.0"}"#),
        (
            "node_modules/@openai/agents-core/dist/tool.js",
            "exports.invoke = () => console.log('the tool ran');\n",
        ),
    ];
    let program = "require('@openai/agents-core/dist/tool.js').invoke();\n";
    node(&files, program, "@openai/agents-core 0.99.0 is not known (it has no invokeFunctionTool)");
}
