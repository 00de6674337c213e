//! The functions against the library's own answers, with NULLs, broken pictures and uneven batches between.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, sync::Arc};

use alexnet_datafusion::{Engine, EngineOptions, register};
use alexnet_wgpu::{Classifier, Comparer, Gpu, GpuOptions, Model, Picture};
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, Int32Array, LargeBinaryArray, RecordBatch},
        datatypes::{Float32Type, Int32Type, Int64Type, UInt32Type},
    },
    prelude::{ParquetReadOptions, SessionContext},
};

const NAMES: [&str; 3] = ["ankle-boot.png", "bag.png", "trouser.png"];

fn picture(name: &str) -> Vec<u8> {
    fs::read(format!("{}/../../examples/pictures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// A square picture in the format PPM.
fn pixmap(side: usize, factor: usize) -> Vec<u8> {
    let mut bytes = format!("P6 {side} {side} 255\n").into_bytes();
    bytes.extend((0..3 * side * side).map(|index| (index * factor * (1 + index / 600)) as u8));
    bytes
}

/// `rows` pictures in turns; every seventh is NULL and every fifth no picture, in that order of precedence.
fn rows(rows: usize) -> Vec<Option<Vec<u8>>> {
    let row = |row: usize| match row {
        _ if row % 7 == 6 => None,
        _ if row % 5 == 4 => Some(picture(NAMES[row % 3])[..50].to_vec()),
        _ => Some(picture(NAMES[row % 3])),
    };
    (0..rows).map(row).collect()
}

fn context(batch: usize) -> (SessionContext, Arc<Engine>) {
    let engine = Arc::new(Engine::new(EngineOptions::default().batch(batch)));
    let context = SessionContext::new();
    register(&context, &engine);
    (context, engine)
}

fn table(context: &SessionContext, pictures: &[Option<Vec<u8>>]) {
    let ids = Int32Array::from_iter_values(0..pictures.len() as i32);
    let column: BinaryArray = pictures.iter().map(Option::as_deref).collect();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("picture", Arc::new(column))];
    let _ = context.deregister_table("pictures");
    context.register_batch("pictures", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
}

async fn query(context: &SessionContext, query: &str) -> RecordBatch {
    let frame = context.sql(query).await.unwrap();
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.unwrap();
    datafusion::arrow::compute::concat_batches(&schema, &batches).unwrap()
}

async fn error(context: &SessionContext, query: &str) -> String {
    match context.sql(query).await {
        Err(error) => error.to_string(),
        Ok(frame) => frame.collect().await.unwrap_err().to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_are_the_librarys_whatever_the_batches() {
    let gpu = Gpu::open(&GpuOptions::default()).await.unwrap();
    let classifier = Classifier::new(&gpu, &Model::embedded().unwrap(), 1).unwrap();
    let mut expected = Vec::new();
    for name in NAMES {
        expected.push(classifier.classify(&Picture::decode(&picture(name)).unwrap()).await.unwrap().remove(0));
    }
    let (context, engine) = context(4);
    let mut seen = engine.counts();
    for count in [1, 3, 4, 5, 8, 23] {
        let pictures = rows(count);
        table(&context, &pictures);
        let result = query(
            &context,
            "SELECT id, c['label'], c['class'], c['probability'], c IS NULL FROM
             (SELECT id, alexnet_classify(picture) AS c FROM pictures) ORDER BY id",
        )
        .await;
        assert_eq!(result.num_rows(), count);
        for (row, bytes) in pictures.iter().enumerate() {
            assert_eq!(result.column(0).as_primitive::<Int32Type>().value(row), row as i32);
            let good = bytes.as_ref().is_some_and(|bytes| bytes.len() > 50);
            assert_eq!(result.column(4).as_boolean().value(row), !good);
            assert_eq!(result.column(1).is_valid(row), good, "row {row}");
            if good {
                let expected = &expected[row % 3];
                assert_eq!(result.column(1).as_string::<i32>().value(row), expected.label);
                assert_eq!(result.column(2).as_primitive::<UInt32Type>().value(row), expected.index as u32);
                let probability = result.column(3).as_primitive::<Float32Type>().value(row);
                assert!((probability - expected.probability).abs() < 1e-5, "{probability} for {expected:?}");
            }
        }
        let (pictures_now, unreadable) =
            (pictures.iter().flatten().count() as u64, |bytes: &&Vec<u8>| bytes.len() == 50);
        let unreadable = pictures.iter().flatten().filter(unreadable).count() as u64;
        let now = engine.counts();
        assert_eq!(now.pictures - seen.pictures, pictures_now);
        assert_eq!(now.unreadable - seen.unreadable, unreadable);
        // Pictures that cannot be read take no place in a batch.
        assert_eq!(now.batches - seen.batches, (pictures_now - unreadable).div_ceil(4));
        seen = now;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn features_are_the_layers_of_the_network() {
    let gpu = Gpu::open(&GpuOptions::default()).await.unwrap();
    let model = Model::embedded().unwrap();
    let classifier = Classifier::new(&gpu, &model, 1).unwrap();
    let (context, _) = context(4);
    let pictures = rows(8);
    table(&context, &pictures);
    for layer in ["fc6", "pool5"] {
        let select = format!("SELECT alexnet_features(picture, '{layer}') FROM pictures ORDER BY id");
        let result = query(&context, &select).await;
        let lists = result.column(0).as_list::<i32>();
        for (row, bytes) in pictures.iter().enumerate() {
            let Some(decoded) = bytes.as_deref().and_then(|bytes| Picture::decode(bytes).ok()) else {
                assert!(lists.is_null(row));
                continue;
            };
            let input = classifier.preprocess(&decoded).unwrap();
            let expected = classifier.pipeline().run_layers(&input, &[layer]).await.unwrap().remove(0);
            let found = lists.value(row);
            let found = found.as_primitive::<Float32Type>().values();
            assert_eq!(found.len(), expected.len());
            let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let far = found.iter().zip(&expected).find(|(a, b)| (*a - *b).abs() > 1e-5 * largest);
            assert_eq!(far, None, "{layer} of row {row}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lpips_is_the_comparers() {
    let [a, b] = [3, 5].map(|factor| pixmap(64, factor));
    let (broken, other) = (a[..50].to_vec(), pixmap(40, 3));
    let decoded = [&a, &b].map(|bytes| Picture::decode(bytes).unwrap());
    let gpu = Gpu::open(&GpuOptions::default()).await.unwrap();
    let expected = Comparer::new(&gpu).unwrap().compare(&decoded[0], &decoded[1]).await.unwrap().lpips;
    assert!(expected > 0.01);
    let left: LargeBinaryArray = [Some(&a), Some(&a), Some(&a), None, Some(&broken), Some(&a)].into_iter().collect();
    let right: BinaryViewArray = [Some(&b), Some(&a), None, Some(&b), Some(&b), Some(&other)].into_iter().collect();
    let (context, engine) = context(4);
    let columns: [(&str, ArrayRef); 2] = [("a", Arc::new(left)), ("b", Arc::new(right))];
    context.register_batch("pairs", RecordBatch::try_from_iter(columns).unwrap()).unwrap();
    let result = query(&context, "SELECT lpips(a, b) FROM pairs").await;
    let found: Vec<Option<f32>> = result.column(0).as_primitive::<Float32Type>().iter().collect();
    assert_eq!(found, [Some(expected), Some(0.0), None, None, None, None]);
    let counts = engine.counts();
    assert_eq!((counts.pictures, counts.unreadable, counts.incomparable), (8, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_that_are_all_null_need_no_device() {
    let engine = Arc::new(Engine::new(EngineOptions::default().adapter("no such adapter".to_owned())));
    let context = SessionContext::new();
    register(&context, &engine);
    table(&context, &[None, None]);
    let select =
        "SELECT alexnet_classify(picture), alexnet_features(picture, 'fc6'), lpips(picture, picture) FROM pictures";
    let result = query(&context, select).await;
    assert!(result.columns().iter().all(|column| column.null_count() == 2));
    table(&context, &rows(1));
    let message = error(&context, select).await;
    assert!(message.contains("no such adapter"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_queries_say_what_was_expected() {
    let (context, _) = context(4);
    table(&context, &rows(2));
    for (select, expected) in [
        ("alexnet_classify(id)", "alexnet_classify takes a column of encoded pictures (binary), found (Int32)"),
        ("alexnet_classify()", "alexnet_classify"),
        ("alexnet_features(picture, 6)", "the name of a layer (text), found (Binary, Int64)"),
        ("alexnet_features(picture, 'fc9')", "fc9"),
        ("alexnet_features(picture, CAST(id AS VARCHAR))", "must be a constant"),
        ("lpips(picture)", "lpips takes two columns of encoded pictures (binary), found (Binary)"),
    ] {
        let message = error(&context, &format!("SELECT {select} FROM pictures")).await;
        assert!(message.contains(expected), "{select}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_of_the_guide_counts_labels() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let guide = fs::read_to_string(format!("{root}/docs/guide/src/many.md")).unwrap();
    let select = guide.split_once("```sql\n").unwrap().1.split_once("```").unwrap().0;
    let (context, engine) = context(4);
    let table = format!("{root}/cli/tests/data/garments.parquet");
    context.register_parquet("pictures", table, ParquetReadOptions::default()).await.unwrap();
    let result = query(&context, &format!("SELECT * FROM ({select}) ORDER BY label")).await;
    let labels: Vec<Option<&str>> = result.column(0).as_string::<i32>().iter().collect();
    let expected = ["Ankle boot", "Bag", "Sneaker", "T-shirt/top", "Trouser"];
    // Last those that could not be read: two are NULL, one is no picture.
    assert_eq!(labels, expected.map(Some).into_iter().chain([None]).collect::<Vec<_>>());
    assert_eq!(result.column(1).as_primitive::<Int64Type>().values()[..], [1, 1, 1, 1, 1, 3]);
    assert_eq!((engine.counts().pictures, engine.counts().unreadable), (6, 1));
}
