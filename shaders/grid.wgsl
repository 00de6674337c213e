//% if GRID
  // The dispatch's grid of ${GRID[0]} × ${GRID[1]} × ${GRID[2]} workgroups has more along an axis than a device takes: they are
  // numbered, and dispatched in rows of ${GRID_ROW}. The last row may have more than there are.
  let number = dispatched.y * ${GRID_ROW}u + dispatched.x;
  if number >= ${GRID[0] * GRID[1] * GRID[2]}u {
    return;
  }
  let workgroup = vec3u(number % ${GRID[0]}u, number / ${GRID[0]}u % ${GRID[1]}u, number / ${GRID[0] * GRID[1]}u);
//% else
  let workgroup = dispatched;
//% endif
