//% if GRID
  // The grid of ${GRID[0]} × ${GRID[1]} × ${GRID[2]} workgroups exceeds the maximum along an axis. The workgroups are
  // numbered, and dispatched in rows of ${GRID_ROW}. The last row may have excess workgroups.
  let number = dispatched.y * ${GRID_ROW}u + dispatched.x;
  if number >= ${GRID[0] * GRID[1] * GRID[2]}u {
    return;
  }
  let workgroup = vec3u(number % ${GRID[0]}u, number / ${GRID[0]}u % ${GRID[1]}u, number / ${GRID[0] * GRID[1]}u);
//% else
  let workgroup = dispatched;
//% endif
