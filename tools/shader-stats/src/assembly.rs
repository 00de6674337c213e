//! What the hottest loop of an AMD shader is made of, read from its assembly.

use std::{collections::HashMap, ops::RangeInclusive};

use serde::{Deserialize, Serialize};

/// Instructions of one turn of a loop, for one wave. Loops inside it count once, so it is the least there can be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    /// Multiply-adds of a lane.
    pub fmas: u32,
    /// Vector instructions, the multiply-adds' among them.
    pub valu: u32,
    /// Those of them that take four times as long as the others.
    pub slow: u32,
    /// Bytes that a lane reads from and writes to workgroup memory.
    pub lds_bytes: u32,
}

impl Loop {
    fn count(&mut self, instruction: &str) {
        let mnemonic = instruction.split_whitespace().next().unwrap_or_default();
        if mnemonic.starts_with("v_") {
            self.valu += 1;
            // Two instructions in one have `::` between them.
            let fma = |m: &str| {
                let float = m.contains("_f32") || m.contains("_f16");
                let lanes = if m.starts_with("v_pk_") { 2 } else { 1 };
                if float && (m.contains("fma") || m.contains("_mac_") || m.contains("_mad_")) { lanes } else { 0 }
            };
            self.fmas += instruction.split("::").map(|half| fma(half.trim_start())).sum::<u32>();
            const SLOW: [&str; 8] =
                ["_mul_lo_u32", "_mul_hi_u32", "_rcp_", "_rsq_", "_sqrt_", "_exp_", "_log_", "_mad_u64_u32"];
            self.slow += u32::from(SLOW.iter().any(|s| mnemonic.contains(s)));
        } else if mnemonic.starts_with("ds_") {
            // ds_load_b128, ds_read_b32, ds_read2_b64, ds_load_2addr_b32, ds_write…
            let bits: u32 = mnemonic.rsplit("_b").next().and_then(|bits| bits.parse().ok()).unwrap_or(0);
            let twice = mnemonic.contains("2_") || mnemonic.contains("2st64") || mnemonic.contains("2addr");
            self.lds_bytes += bits / 8 * if twice { 2 } else { 1 };
        }
    }
}

/// The loop with most multiply-adds, the smallest where several have them; none where no loop multiplies.
pub fn hot_loop(assembly: &str) -> Option<Loop> {
    let lines: Vec<&str> = assembly.lines().map(|l| l.split(';').next().unwrap_or_default().trim()).collect();
    let labels: HashMap<&str, usize> =
        lines.iter().enumerate().filter_map(|(i, line)| Some((line.strip_suffix(':')?, i))).collect();
    // A branch to a label above it ends a loop.
    let loops = lines.iter().enumerate().filter_map(|(end, line)| {
        let (branch, label) = line.split_once(char::is_whitespace)?;
        let start = *labels.get(label.trim())?;
        ((branch == "s_branch" || branch.starts_with("s_cbranch")) && start <= end).then_some(start..=end)
    });
    let count = |range: RangeInclusive<usize>| {
        let mut counted = Loop::default();
        lines[range].iter().for_each(|line| counted.count(line));
        counted
    };
    loops.map(count).filter(|l| l.fmas > 0).max_by_key(|l| (l.fmas, std::cmp::Reverse(l.valu)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_that_multiplies_is_found() {
        let assembly = "\
BB0:
	v_fma_f32 v9, v9, v9, v9                                    ; outside
BB1:
	s_cmp_ge_u32 s1, s6
	s_cbranch_scc1 BB9                                          ; forwards
BB2:
	v_mul_lo_u32 v1, v2, v3
	s_cbranch_vccnz BB2                                         ; a loop without multiply-adds
	ds_load_b128 v[4:7], v1 offset:16
	ds_read2_b64 v[4:7], v1 offset0:1 offset1:2
	v_fmac_f32_e32 v1, v2, v3                                   ; 56020503
	v_dual_fmac_f32 v1, v2, v3 :: v_dual_fmac_f32 v2, v4, v5
	v_pk_fma_f16 v1, v2, v3, v1
	v_mad_u32_u24 v1, v2, v3, v4
	s_branch BB1
BB9:
	s_endpgm
";
        assert_eq!(hot_loop(assembly), Some(Loop { fmas: 5, valu: 5, slow: 1, lds_bytes: 32 }));
        assert_eq!(hot_loop("BB0:\n\tv_fma_f32 v9, v9, v9, v9\n\ts_endpgm\n"), None);
    }
}
