//! The functions as DataFusion sees them.

use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use alexnet_wgpu::{Classifier, CompareError, Picture, Prediction};
use async_trait::async_trait;
use blake3::Hash as Hash256;
use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, BinaryViewArray, Float32Builder, ListBuilder, PrimitiveArray, StringArray, StructArray,
            new_null_array,
        },
        buffer::NullBuffer,
        compute::cast,
        datatypes::{DataType, Field, Fields, Float32Type, UInt32Type},
    },
    common::{Result, ScalarValue, cast::as_binary_view_array, plan_err},
    error::DataFusionError,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        async_udf::{AsyncScalarUDF, AsyncScalarUDFImpl},
    },
    prelude::SessionContext,
};
use futures::{FutureExt, TryStreamExt, future::BoxFuture};

use crate::{Engine, EngineError};

/// Results that are remembered: at least one for each partition that runs at once.
const KNOWN: usize = 64;

/// Batches that are read or computed at once: the device has one while the pictures of the other are read.
const UNDER_WAY: usize = 2;

/// Makes the functions of a context known: `alexnet_classify`, `alexnet_features` and `lpips`.
pub fn register(context: &SessionContext, engine: &Arc<Engine>) {
    for function in functions(engine) {
        context.register_udf(function);
    }
}

/// The functions, to register elsewhere.
pub fn functions(engine: &Arc<Engine>) -> Vec<ScalarUDF> {
    let make = |kind| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        let function = Function { kind, engine: engine.clone(), signature, known: Mutex::default() };
        AsyncScalarUDF::new(Arc::new(function)).into_scalar_udf()
    };
    [Kind::Classify, Kind::Features, Kind::Lpips].map(make).into()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Classify,
    Features,
    Lpips,
}

#[derive(Debug)]
struct Function {
    kind: Kind,
    engine: Arc<Engine>,
    signature: Signature,
    /// The last small results, by what they were computed of.
    known: Mutex<VecDeque<(Hash256, ArrayRef)>>,
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && Arc::ptr_eq(&self.engine, &other.engine)
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.kind.hash(state);
    }
}

fn class_fields() -> Fields {
    let field = |name, data_type| Field::new(name, data_type, true);
    vec![field("label", DataType::Utf8), field("class", DataType::UInt32), field("probability", DataType::Float32)]
        .into()
}

fn is_bytes(data_type: &DataType) -> bool {
    match data_type {
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_)
        | DataType::Null => true,
        DataType::Dictionary(_, values) => is_bytes(values),
        _ => false,
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Classify => "alexnet_classify",
            Kind::Features => "alexnet_features",
            Kind::Lpips => "lpips",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Checks the arguments too: DataFusion does not ask asynchronous functions what they coerce.
    fn return_type(&self, found: &[DataType]) -> Result<DataType> {
        match (self.kind, found) {
            (Kind::Classify, [a]) if is_bytes(a) => Ok(DataType::Struct(class_fields())),
            (Kind::Features, [a, layer]) if is_bytes(a) && is_text(layer) => {
                Ok(DataType::new_list(DataType::Float32, true))
            }
            (Kind::Lpips, [a, b]) if is_bytes(a) && is_bytes(b) => Ok(DataType::Float32),
            (kind, _) => {
                let expected = match kind {
                    Kind::Classify => "a column of encoded pictures (binary)",
                    Kind::Features => "a column of encoded pictures (binary) and the name of a layer (text)",
                    Kind::Lpips => "two columns of encoded pictures (binary)",
                };
                let found: Vec<String> = found.iter().map(DataType::to_string).collect();
                plan_err!("{} takes {expected}, found ({})", self.name(), found.join(", "))
            }
        }
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        plan_err!("{} is asynchronous", self.name())
    }
}

#[async_trait]
impl AsyncScalarUDFImpl for Function {
    async fn invoke_async_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let before = self.engine.counts();
        let first = pictures(&args, 0)?;
        let result = match self.kind {
            Kind::Classify => {
                let key = digest(vec![first.clone()]).await;
                self.remembered(key, self.classify(first)).await
            }
            Kind::Features => {
                let layer = match &args.args[1] {
                    ColumnarValue::Scalar(
                        ScalarValue::Utf8(Some(layer))
                        | ScalarValue::LargeUtf8(Some(layer))
                        | ScalarValue::Utf8View(Some(layer)),
                    ) => layer.clone(),
                    _ => return plan_err!("the layer of alexnet_features must be a constant, such as 'fc6'"),
                };
                self.features(first, layer).await
            }
            Kind::Lpips => {
                let second = pictures(&args, 1)?;
                let key = digest(vec![first.clone(), second.clone()]).await;
                self.remembered(key, self.lpips(first, second)).await
            }
        };
        let values = result.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let after = self.engine.counts();
        log::info!("{}: {rows} rows, {} pictures so far", self.name(), after.pictures);
        if before.unreadable < after.unreadable {
            log::warn!(
                "{} of {} pictures so far could not be read: their rows are NULL",
                after.unreadable,
                after.pictures
            );
        }
        Ok(ColumnarValue::Array(values))
    }
}

/// An argument that is a column of pictures.
fn pictures(args: &ScalarFunctionArgs, index: usize) -> Result<BinaryViewArray> {
    let column = cast(&args.args[index].to_array(args.number_rows)?, &DataType::BinaryView)?;
    Ok(as_binary_view_array(&column)?.clone())
}

/// A digest of columns of pictures, which is far quicker than decoding them.
async fn digest(columns: Vec<BinaryViewArray>) -> Result<Hash256, EngineError> {
    let digest = move || {
        let mut hasher = blake3::Hasher::new();
        for picture in columns.iter().flat_map(BinaryViewArray::iter) {
            hasher.update(&picture.map_or(u64::MAX, |bytes| bytes.len() as u64).to_le_bytes());
            hasher.update(picture.unwrap_or_default());
        }
        hasher.finalize()
    };
    Ok(tokio::task::spawn_blocking(digest).await?)
}

impl Function {
    /// The result for these pictures, which is computed once. DataFusion evaluates a function for each place where a query's result
    /// uses it, a struct's for each field, one after the other on the same rows.
    async fn remembered(
        &self,
        key: Result<Hash256, EngineError>,
        compute: impl Future<Output = Result<ArrayRef, EngineError>>,
    ) -> Result<ArrayRef, EngineError> {
        let key = key?;
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, result)) = known().iter().find(|(known, _)| *known == key) {
            return Ok(result.clone());
        }
        let result = compute.await?;
        let mut known = known();
        known.truncate(KNOWN - 1);
        known.push_front((key, result.clone()));
        Ok(result)
    }

    async fn classify(&self, pictures: BinaryViewArray) -> Result<ArrayRef, EngineError> {
        let rows = pictures.len();
        let mut labels = vec![None; rows];
        let (mut classes, mut probabilities) = (vec![None; rows], vec![None; rows]);
        if pictures.null_count() < rows {
            let run = |classifier: Arc<Classifier>, batch: Vec<f32>| {
                async move { Ok(classifier.classify_input(&batch).await?) }.boxed()
            };
            for (row, mut top) in self.in_batches(pictures, run).await? {
                if let Some(Prediction { index, label, probability, .. }) = top.pop() {
                    labels[row] = Some(label);
                    classes[row] = Some(index as u32);
                    probabilities[row] = Some(probability);
                }
            }
        }
        let nulls = NullBuffer::from_iter(labels.iter().map(Option::is_some));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(labels)),
            Arc::new(PrimitiveArray::<UInt32Type>::from(classes)),
            Arc::new(PrimitiveArray::<Float32Type>::from(probabilities)),
        ];
        Ok(Arc::new(StructArray::new(class_fields(), columns, Some(nulls))))
    }

    async fn features(&self, pictures: BinaryViewArray, layer: String) -> Result<ArrayRef, EngineError> {
        let rows = pictures.len();
        if pictures.null_count() == rows {
            return Ok(new_null_array(&DataType::new_list(DataType::Float32, true), rows));
        }
        let run = move |classifier: Arc<Classifier>, batch: Vec<f32>| {
            let layer = layer.clone();
            async move {
                let pipeline = classifier.pipeline();
                let activations = pipeline.run_layers(&batch, &[&layer]).await?.pop().unwrap_or_default();
                let one = (activations.len() / pipeline.batch()).max(1);
                Ok(activations.chunks(one).map(<[f32]>::to_vec).collect())
            }
            .boxed()
        };
        let mut found = self.in_batches(pictures, run).await?.into_iter().peekable();
        let mut list = ListBuilder::new(Float32Builder::new());
        for row in 0..rows {
            match found.next_if(|&(next, _)| next == row) {
                Some((_, values)) => {
                    list.values().append_slice(&values);
                    list.append(true);
                }
                None => list.append(false),
            }
        }
        Ok(Arc::new(list.finish()))
    }

    async fn lpips(&self, a: BinaryViewArray, b: BinaryViewArray) -> Result<ArrayRef, EngineError> {
        let rows = a.len();
        let mut values = vec![None; rows];
        if (0..rows).any(|row| a.is_valid(row) && b.is_valid(row)) {
            let comparer = self.engine.comparer().await?;
            let engine = self.engine.clone();
            let pairs = self.engine.read(rows, move |row| {
                let both =
                    (a.is_valid(row) && b.is_valid(row)).then(|| [&a, &b].map(|side| decoded(&engine, side, row)));
                let [Some(a), Some(b)] = both? else { return None };
                Some((a, b))
            });
            let engine = self.engine.clone();
            let compare = move |(row, (a, b)): (usize, (Picture, Picture))| {
                let (engine, comparer) = (engine.clone(), comparer.clone());
                async move {
                    let value = match comparer.compare(&a, &b).await {
                        Err(CompareError::Size { .. } | CompareError::TooSmall { .. }) => {
                            engine.count_incomparable();
                            return Ok(None);
                        }
                        result => engine.finish(result.map_err(EngineError::from)).await?.lpips,
                    };
                    Ok(Some((row, value)))
                }
            };
            let compared: Vec<_> = pairs.map_ok(compare).try_buffered(UNDER_WAY).try_collect().await?;
            for (row, value) in compared.into_iter().flatten() {
                values[row] = Some(value);
            }
        }
        Ok(Arc::new(PrimitiveArray::<Float32Type>::from(values)))
    }

    /// Reads the pictures, calls `run` with whole batches (N·CHW), and gives the result of each picture that could be read,
    /// with its row, in the order of the rows.
    async fn in_batches<T: Send + 'static>(
        &self,
        pictures: BinaryViewArray,
        run: impl Fn(Arc<Classifier>, Vec<f32>) -> BoxFuture<'static, Result<Vec<T>, EngineError>> + Send,
    ) -> Result<Vec<(usize, T)>, EngineError> {
        let classifier = self.engine.classifier().await?;
        let (engine, reader) = (self.engine.clone(), classifier.clone());
        let inputs = self.engine.read(pictures.len(), move |row| {
            if !pictures.is_valid(row) {
                return None;
            }
            let input = Picture::decode(pictures.value(row)).ok().and_then(|picture| reader.preprocess(&picture).ok());
            engine.count(input.is_some());
            input
        });
        let (engine, batch) = (self.engine.clone(), classifier.pipeline().batch());
        let whole = batch * classifier.pipeline().network().input().len();
        let compute = move |batch: Vec<(usize, Vec<f32>)>| {
            let (rows, inputs): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let mut input = inputs.concat();
            input.resize(whole, 0.0);
            let (engine, running) = (engine.clone(), run(classifier.clone(), input));
            async move { Ok(rows.into_iter().zip(engine.finish(running.await).await?).collect()) }
        };
        let chunks = inputs.try_chunks(batch).map_err(|error| error.1);
        let results: Vec<Vec<(usize, T)>> = chunks.map_ok(compute).try_buffered(UNDER_WAY).try_collect().await?;
        Ok(results.into_iter().flatten().collect())
    }
}

/// The picture of a row, counted.
fn decoded(engine: &Engine, pictures: &BinaryViewArray, row: usize) -> Option<Picture> {
    let picture = Picture::decode(pictures.value(row)).ok();
    engine.count(picture.is_some());
    picture
}
