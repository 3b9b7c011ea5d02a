//! What to do about a divergence: for whoever has to deal with it, by code.

use super::report::DivergenceCode;

impl DivergenceCode {
    /// A sentence or two that end in something to do.
    pub fn next_step(self) -> &'static str {
        match self {
            Self::ModelDrift => {
                "Set the model back, in the program or its environment. If the new one is meant, record the run \
                 again."
            }
            Self::SystemDrift => {
                "Look at the marked words. If they are to differ from run to run, mask them in looptape.toml; if \
                 the new prompt is meant, record the run again."
            }
            Self::ToolsDrift => {
                "Look at the tool that is named. If the new definition is meant, record the run again; if only the \
                 order changed, make the program list its tools in one order."
            }
            Self::ParamDrift => "Set the parameter back. If the new value is meant, record the run again.",
            Self::VolatileToolResult => {
                "Make the tool give what it gave then: the same files, a fixed clock, a fixture. If the marked \
                 words are to differ from run to run, mask them in looptape.toml; if the tool was changed on \
                 purpose, record the run again."
            }
            Self::HistoryRewrite => {
                "Look at what puts the messages together: the program sent other words than it was answered or \
                 asked then (trimming, summaries, an order that changes). If the change is meant, record the run \
                 again."
            }
            Self::ExtraCall => {
                "The program did not stop where it stopped then: look at what it does with the answer of that step \
                 (`looptape show TRACE --step N`). If going on is meant, record the run again."
            }
            Self::NeverRecorded => {
                "Check that this trace is a run of this program with this input (`looptape show TRACE`): another \
                 first message is another conversation."
            }
            Self::Exhausted => {
                "The program asks this more often than it did then: look for what repeats it, such as a retry of \
                 its own, a loop or a second worker."
            }
            Self::Ambiguous => {
                "Nothing in the request says which of these calls it is. Give each of the parallel conversations \
                 something of its own, its name in the first message for example, and record the run again."
            }
            Self::IncompleteRecording => {
                "Up to here the run is the recorded one; there is no more to compare it with. Record the run again \
                 to its end."
            }
            Self::LiveEgressBlocked => {
                "The program called something that was not recorded. If it is a model, let it take its base URL \
                 from the environment, so that the call is recorded and replayed. Anything else is recorded with \
                 `record --capture-egress`, and answered from there; where nothing was captured, it is let through \
                 without --block-egress."
            }
            Self::UnusedRecording => {
                "The program did less than it did then: look at these calls (`looptape show TRACE --step N`). \
                 --allow-unused accepts it."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Report;
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_code_has_a_next_step_of_its_own() {
        let codes = [
            DivergenceCode::ModelDrift,
            DivergenceCode::SystemDrift,
            DivergenceCode::ToolsDrift,
            DivergenceCode::ParamDrift,
            DivergenceCode::VolatileToolResult,
            DivergenceCode::HistoryRewrite,
            DivergenceCode::ExtraCall,
            DivergenceCode::NeverRecorded,
            DivergenceCode::Exhausted,
            DivergenceCode::Ambiguous,
            DivergenceCode::IncompleteRecording,
            DivergenceCode::LiveEgressBlocked,
            DivergenceCode::UnusedRecording,
        ];
        let report = |code| Report::new(code, None, String::new()).next_step;
        let steps: HashSet<String> = codes.into_iter().map(report).collect();
        assert_eq!(steps.len(), codes.len());
        assert!(steps.iter().all(|step| step.ends_with('.') && !step.contains("  ")));
    }
}
