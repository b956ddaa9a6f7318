//! What a report must say of the machine and software under the bench (RFC 9411 §6).

use std::fs;

use sysinfo::System;
use tbi_bench::plan::Plan;
use tbi_bench::record::Environment;

/// Which of the program's two lives a run is in, as records and sentences say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    /// `lab` or `appliance`.
    pub name: &'static str,
    /// What routes between device and personas.
    pub isp: String,
    /// How to run again.
    pub again: &'static str,
    /// Where a program's words are.
    pub log: &'static str,
}

impl Life {
    /// In namespaces of a developer's machine.
    pub(crate) fn lab() -> Self {
        Self {
            name: "lab",
            isp: "static routes in a namespace; no routing daemon".to_owned(),
            again: "run again with `cargo tbi run --again`",
            log: "its log is in the run's folder under logs/",
        }
    }

    /// On an appliance whose ISP router is this.
    pub(crate) fn appliance(isp: String) -> Self {
        Self { name: "appliance", isp, again: "order the run again", log: "its log is in the box's journal" }
    }
}

/// The machine as it is now.
pub(crate) fn environment(plan: &Plan, life: &Life) -> Environment {
    let unknown = || "unknown".to_owned();
    let machine = System::new().ok().map(|mut system| {
        system.refresh_memory();
        system.refresh_cpu_all();
        let cpu = system.cpus().first().map_or_else(unknown, |cpu| cpu.brand().trim().to_owned());
        (cpu, system.total_memory() / (1 << 20))
    });
    let (cpu, memory_mib) = machine.unwrap_or_else(|| (unknown(), 0));
    Environment {
        cpu,
        cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32),
        memory_mib,
        kernel: System::kernel_version().unwrap_or_else(|_| unknown()),
        os: System::long_os_version().unwrap_or_else(|_| unknown()),
        load_average: System::load_average().map_or(0.0, |load| load.one),
        life: life.name.to_owned(),
        isp: life.isp.clone(),
        engine_workers: plan.workers.engine,
        persona_workers: plan.workers.personas,
        dut_workers: plan.workers.dut,
        deviations: deviations(plan),
    }
}

/// Where a run departs from RFC 9411, by section.
fn deviations(plan: &Plan) -> Vec<String> {
    let mut deviations = vec![
        "§4.3.1.1: TCP options are the kernel's (initial window, delayed ACK, PSH), which programs cannot set."
            .to_owned(),
        "§4.3.1.3: client addresses are drawn from two /16 blocks without a rate per address.".to_owned(),
        "§4.1: agents, device and personas share one machine's cores, so their costs are not independent.".to_owned(),
        "§6.3: throughput is HTTP payload, not layer 2.".to_owned(),
    ];
    if !plan.phases.as_rfc9411_recommends() {
        deviations.push(format!(
            "§4.3.4: the phases are shorter than recommended (init {} of 5 s, sustain {} of 300 s).",
            plan.phases.init, plan.phases.sustain
        ));
    }
    if congestion_control().as_deref() != Some("cubic") {
        deviations.push(format!(
            "TCP congestion control is {}.",
            congestion_control().unwrap_or_else(|| "unknown".to_owned())
        ));
    }
    deviations
}

fn congestion_control() -> Option<String> {
    fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").ok().map(|name| name.trim().to_owned())
}
