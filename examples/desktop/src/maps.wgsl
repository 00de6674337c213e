// Draws an activation as maps: what is above zero from black through red and yellow to white, what is below through blue
// to cyan, each map (or all of them) relative to its largest magnitude.
//
// values: numbers of the activation, found by strides.
// peaks: the largest magnitude of each map, then that of all, as bits of an f32 (which order as the numbers do).
// picture: tiles of one map each, row by row.

struct Layout {
    width: u32,
    height: u32,
    maps: u32,
    columns: u32,
    row_stride: u32,
    column_stride: u32,
    map_stride: u32,
    // Numbers of one map.
    len: u32,
    // Whether each map has a scale of its own.
    own_scale: u32,
}

@group(0) @binding(0) var<storage, read> values: array<f32>;
@group(0) @binding(1) var<storage, read_write> peaks: array<atomic<u32>>;
@group(0) @binding(2) var<uniform> tiles: Layout;
@group(0) @binding(3) var picture: texture_storage_2d<rgba8unorm, write>;

fn value(map: u32, row: u32, column: u32) -> f32 {
    return values[map * tiles.map_stride + row * tiles.row_stride + column * tiles.column_stride];
}

var<workgroup> largest: array<f32, 64>;

@compute @workgroup_size(64)
fn find_peaks(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    var peak = 0.0;
    for (var i = lane; i < tiles.len; i += 64u) {
        peak = max(peak, abs(value(group.x, i / tiles.width, i % tiles.width)));
    }
    largest[lane] = peak;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if lane < half {
            largest[lane] = max(largest[lane], largest[lane + half]);
        }
        workgroupBarrier();
    }
    if lane == 0u {
        let bits = bitcast<u32>(largest[0]);
        atomicStore(&peaks[group.x], bits);
        atomicMax(&peaks[tiles.maps], bits);
    }
}

fn colour(x: f32) -> vec3f {
    let t = clamp(abs(x), 0.0, 1.0);
    let warm = vec3f(smoothstep(0.0, 0.55, t), smoothstep(0.3, 0.85, t), smoothstep(0.75, 1.05, t) + 0.35 * t * (1.0 - t));
    let cold = vec3f(smoothstep(0.75, 1.05, t), smoothstep(0.3, 0.85, t), smoothstep(0.0, 0.55, t));
    return select(cold, warm, x >= 0.0);
}

@compute @workgroup_size(8, 8)
fn draw(@builtin(global_invocation_id) id: vec3u) {
    let tile = id.xy / vec2u(tiles.width, tiles.height);
    let map = tile.y * tiles.columns + tile.x;
    let column = id.x % tiles.width;
    let row = id.y % tiles.height;
    if tile.x >= tiles.columns || any(id.xy >= textureDimensions(picture)) {
        return;
    }
    var texel = vec4f(0.0);
    if map < tiles.maps {
        let peak = bitcast<f32>(atomicLoad(&peaks[select(tiles.maps, map, tiles.own_scale != 0u)]));
        // A map of zeros is black.
        texel = vec4f(colour(value(map, row, column) / max(peak, 1e-30)), 1.0);
    }
    textureStore(picture, id.xy, texel);
}
