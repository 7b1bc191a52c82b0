//! When each stage of the boot began and how long it took, for people and for programs.

use crate::console;
use crate::error::BootError;

/// Where the finished timeline lies, as one JSON object.
const FILE: &str = "/run/kruxos/boot.json";

/// The stages so far.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    name: &'static str,
    at_us: u64,
    took_us: u64,
}

/// Microseconds since the kernel's start, time asleep included (CLOCK_BOOTTIME).
pub(crate) fn boot_us() -> u64 {
    linux::clock::boot_us()
}

/// Milliseconds since the kernel's start.
pub(crate) fn boot_ms() -> u64 {
    linux::clock::boot_ms()
}

impl Timeline {
    /// Runs one stage and notes its time; a stage that fails ends the boot with its name said.
    pub(crate) fn stage<T>(
        &mut self,
        name: &'static str,
        stage: impl FnOnce() -> Result<T, BootError>,
    ) -> Result<T, BootError> {
        let at_us = boot_us();
        let outcome = stage().map_err(|error| BootError::new("stage", name, error))?;
        self.stages.push(Stage { name, at_us, took_us: boot_us().saturating_sub(at_us) });
        Ok(outcome)
    }

    /// The machine is ready: says so, with the timeline as JSON, and keeps it in /run.
    pub(crate) fn ready(&self) {
        let json = self.json(boot_us());
        drop(std::fs::create_dir_all("/run/kruxos"));
        drop(std::fs::write(FILE, &json));
        console::say(&format!("timeline {json}"));
        console::say(&format!("ready after {} ms", boot_ms()));
    }

    fn json(&self, ready_us: u64) -> String {
        let mut json = format!("{{\"ready_us\":{ready_us},\"stages\":[");
        for (index, Stage { name, at_us, took_us }) in self.stages.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let stage = format!("{{\"name\":\"{name}\",\"at_us\":{at_us},\"took_us\":{took_us}}}");
            json.push_str(comma);
            json.push_str(&stage);
        }
        json.push_str("]}");
        json
    }
}
