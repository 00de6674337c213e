//! Comparisons of two pictures, for the checks of shaders.

use super::job::{Job, LIMIT};
use crate::{
    compare::{Comparison, Lpips, LpipsGradientProgram, MAX_PIXELS, PairOptions, PairProgram, reference},
    kernels::{Family, KernelConfig, Storage},
    picture::Picture,
    program::{Algorithms, Allocation, Program},
    weights::splitmix,
};

/// The program for pictures of `size`, in tiles of at most `max_pixels`.
fn program(lpips: &Lpips, size: [usize; 2], config: KernelConfig, max_pixels: usize) -> PairProgram {
    let options = PairOptions { config, algorithms: &Algorithms::new(), limit: LIMIT, max_pixels };
    PairProgram::lower(lpips, size, options).unwrap()
}

/// Programs of several sizes, whole and in tiles, and one large enough for every algorithm.
pub(super) fn programs(config: KernelConfig) -> impl Iterator<Item = PairProgram> {
    let lpips = Lpips::random(1);
    let sizes = [
        ([31, 31], MAX_PIXELS),
        ([45, 90], MAX_PIXELS),
        ([330, 500], 90_000),
        ([1080, 1920], MAX_PIXELS),
        ([2160, 3840], MAX_PIXELS),
    ];
    sizes.into_iter().map(move |(size, max_pixels)| program(&lpips, size, config, max_pixels))
}

/// The gradient of LPIPS for a small picture.
pub(super) fn gradient(config: KernelConfig) -> Program {
    LpipsGradientProgram::lower(&Lpips::random(1), [33, 45], config, LIMIT).unwrap().program
}

/// A small comparison in several kernel configurations: what `run` computes, against the f64 twin.
pub(super) fn check(configs: impl IntoIterator<Item = KernelConfig>, mut run: impl FnMut(Job) -> Result<Job, String>) {
    let lpips = Lpips::random(1);
    let size = [37, 49];
    let picture = |seed| {
        let samples = splitmix::uniform(seed, size[0] * size[1] * 3, 127.0);
        Picture::from_rgb8(size[1] as u32, size[0] as u32, samples.iter().map(|v| (128.0 + v) as u8).collect()).unwrap()
    };
    let [a, b] = [picture(1), picture(2)];
    let expected = reference(&lpips, &a, &b).unwrap();
    let differing = a.rgb().chunks(3).zip(b.rgb().chunks(3)).filter(|(a, b)| a != b).count();
    for config in configs {
        for pictures in [[&a, &b], [&a, &a]] {
            let pair = program(&lpips, size, config, MAX_PIXELS);
            let job = run(Job::of_pair(&pair, &lpips, pictures)).unwrap_or_else(|e| panic!("{config:?}: {e}"));
            let found = Comparison::new(pair.size, &pair.maps, &job.read(pair.results));
            println!("{config:?}: LPIPS {}, the twin {}", found.lpips, expected.lpips);
            if pictures[0] == pictures[1] {
                assert_eq!((found.lpips, found.largest, found.max_difference), (0.0, 0.0, 0), "{config:?}");
                continue;
            }
            assert!((f64::from(found.lpips) - expected.lpips).abs() < 1e-5, "{config:?}: {found:?}");
            let largest = expected.map.iter().copied().fold(0.0, f64::max);
            assert!((f64::from(found.largest) - largest).abs() < 1e-5, "{config:?}: {found:?}, {largest}");
            assert_eq!(found.differing, differing as f64 / (size[0] * size[1]) as f64);
        }
    }
}

/// The tiled and the widest broadcast family, with each storage.
pub(super) fn configs() -> impl Iterator<Item = KernelConfig> {
    [Family::WorkgroupTiled, Family::SubgroupBroadcast { lanes: 8 }]
        .into_iter()
        .flat_map(|family| Storage::ALL.map(|storage| KernelConfig { family, storage }))
}

/// Pictures of any size are compared within 400 MB on the device, in every kernel configuration.
#[test]
fn large_pictures_take_little_memory() {
    let lpips = Lpips::random(1);
    for config in configs() {
        for size in [[1080, 1920], [2160, 3840], [4320, 7680], [40, 60_000]] {
            let pair = program(&lpips, size, config, MAX_PIXELS);
            let plan = pair.program.plan_memory();
            // With the pictures of one tile, four bytes a pixel.
            let [height, width] = pair.tiles.size();
            let bytes =
                plan.allocations.iter().map(Allocation::device_bytes).sum::<u64>() + (8 * height * width) as u64;
            println!("{size:?}, {config:?}: {:.0} MB in tiles of {height}×{width}", bytes as f64 / 1e6);
            assert!(bytes < 400_000_000, "{size:?}, {config:?}: {bytes}");
        }
    }
}
