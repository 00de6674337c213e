//! The templates in `shaders/`, rendered to WGSL.

use std::{collections::BTreeMap, sync::OnceLock};

use minijinja::{Value, syntax::SyntaxConfig};

use super::{Kernel, MAX_WORKGROUPS, TEXTURE_WIDTH, binding, winograd};

macro_rules! shaders {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../shaders/", $name, ".wgsl")))),*]
    };
}

const SHADERS: &[(&str, &str)] = shaders![
    "activate",
    "adaptive_avg_pool",
    "adaptive_avg_pool_gradient",
    "adaptive_avg_pool_uniform",
    "addend",
    "avg_pool",
    "avg_pool_gradient",
    "avg_pool_uniform",
    "batch_norm",
    "batch_norm_gradient",
    "buffer_input",
    "cross_entropy",
    "derivative",
    "dropout",
    "gemm",
    "gemm_broadcast",
    "gemm_cooperative",
    "gemm_quads",
    "gemm_tiled",
    "gradient",
    "grid",
    "grouped_conv",
    "input",
    "input_gradient_broadcast",
    "input_gradient_tiled",
    "local_response_norm",
    "local_response_norm_gradient",
    "local_response_norm_ratio",
    "local_response_norm_scale",
    "lpips_distance",
    "lpips_gradient",
    "lpips_map",
    "matvec_broadcast",
    "matvec_quads",
    "matvec_tiled",
    "max_pool",
    "max_pool_gradient",
    "optimizer",
    "optimizer_uniform",
    "output",
    "packed",
    "pixel_difference",
    "product",
    "reduce",
    "roofline_multiply",
    "roofline_read",
    "softmax",
    "softmax_gradient",
    "split_k",
    "step",
    "strided",
    "sum_gradients",
    "sum_parts",
    "texture_input",
    "top_k",
    "update",
    "weight_gradient_broadcast",
    "weight_gradient_tiled",
    "window",
    "window_of_row",
    "winograd",
    "winograd_input",
    "winograd_input_columns",
    "winograd_input_rows",
    "winograd_input_tiles",
    "winograd_input_workgroup",
    "winograd_output",
    "winograd_output_columns",
    "winograd_output_rows",
    "winograd_output_tiles",
    "winograd_output_workgroup",
    "winograd_weights",
];

/// The files of `shaders/` as templates: lines that start with `//%` are statements, `${…}` is a value.
fn templates() -> &'static minijinja::Environment<'static> {
    static TEMPLATES: OnceLock<minijinja::Environment<'static>> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let mut templates = minijinja::Environment::new();
        templates.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        if let Ok(syntax) = SyntaxConfig::builder()
            .variable_delimiters("${", "}")
            .comment_delimiters("/*#", "#*/")
            .line_statement_prefix("//%")
            .build()
        {
            templates.set_syntax(syntax);
        }
        #[cfg(test)]
        let shaders = SHADERS.iter().chain(TEST_SHADERS);
        #[cfg(not(test))]
        let shaders = SHADERS;
        for (name, source) in shaders {
            let name = format!("{name}.wgsl");
            if let Err(e) = templates.add_template_owned(name, *source) {
                log::error!("shader template: {e:#}");
            }
        }
        templates
    })
}

/// Shaders of small programs in tests.
#[cfg(test)]
const TEST_SHADERS: &[(&str, &str)] = &[
    ("test_cooperative", include_str!("../conformance/test_cooperative.wgsl")),
    ("test_add", include_str!("../runtime/executable/test_add.wgsl")),
    ("test_split", include_str!("../runtime/executable/test_split.wgsl")),
    ("test_accumulate", include_str!("../runtime/executable/test_accumulate.wgsl")),
];

impl Kernel {
    /// Renders the WGSL source.
    ///
    /// # Errors
    ///
    /// A template does not render. This cannot happen in a library that passes its tests.
    pub fn source(&self) -> Result<String, minijinja::Error> {
        let mut values: BTreeMap<&str, Value> =
            self.settings.iter().map(|&(name, value)| (name, value.into())).collect();
        let storages = [
            (binding::X, "reads"),
            (binding::Y, "writes"),
            (binding::WEIGHTS, "weights_storage"),
            (binding::GRADIENT, "gradient_storage"),
            (binding::ADDEND, "addend_storage"),
        ];
        for (number, name) in storages {
            if let Some(binding) = self.binding(number) {
                values.insert(name, binding.storage.name().into());
            }
        }
        values.insert("reads_bias", self.binding(binding::BIAS).is_some().into());
        values.insert("MASKED", self.binding(binding::MASK).is_some().into());
        if let Some(precision) = self.weights() {
            values.insert("weights", precision.name().into());
        }
        values.insert("GRID", self.grid.map(Vec::from).into());
        values.insert("GRID_ROW", MAX_WORKGROUPS.into());
        values.insert("TEXTURE_WIDTH", TEXTURE_WIDTH.into());
        values.insert("TEXTURE_SHIFT", TEXTURE_WIDTH.ilog2().into());
        let setting = |name| self.settings.iter().find(|(n, _)| *n == name).map(|&(_, value)| value as usize);
        if let (Some(m), Some(r)) = (setting("M"), setting("R")) {
            let transforms = winograd::Transforms::new(m, r);
            values.insert("AT", Value::from_serialize(&transforms.at));
            values.insert("BT", Value::from_serialize(&transforms.bt));
            values.insert("G", Value::from_serialize(&transforms.g));
        }
        templates().get_template(&format!("{}.wgsl", self.shader))?.render(values)
    }
}
