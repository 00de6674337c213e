//% if SPLITS > 1
  // Whole iterations per part of k; the last parts may have fewer, or none.
  let part_of_k = workgroup.z % ${SPLITS}u;
  let turns = (k_quads + ${SPLITS * K_QUADS - 1}u) / ${SPLITS * K_QUADS}u;
  let k_first = part_of_k * turns * ${K_QUADS}u;
  let k_end = min(k_first + turns * ${K_QUADS}u, k_quads);
//% else
  let k_first = 0u;
  let k_end = k_quads;
//% endif
