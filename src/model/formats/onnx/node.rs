//! A node of the graph with its attributes.

use bytes::Bytes;

use super::{
    constant::Constant,
    decode,
    proto::{AttributeProto, NodeProto, TensorProto},
    tensors,
};

/// The most attributes of a node. Those of sequential networks have a few.
const MAX_ATTRIBUTES: usize = 64;

/// A decoded node.
pub(super) struct Node {
    /// Its own name, or that of its first output.
    pub name: String,
    pub operator: String,
    /// Empty for the standard operators.
    pub domain: String,
    /// The names of the inputs; empty for absent ones.
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    attributes: Vec<AttributeProto>,
}

impl Node {
    pub fn decode(bytes: &Bytes) -> Result<Self, super::WeightsError> {
        let NodeProto { input, output, name, op_type, attribute, domain } = decode(bytes)?;
        if attribute.len() > MAX_ATTRIBUTES {
            let what = format!("at most {MAX_ATTRIBUTES} attributes of a node, found {}", attribute.len());
            return Err(super::malformed(what));
        }
        let attributes = attribute.iter().map(decode).collect::<Result<_, _>>()?;
        let domain = if domain == "ai.onnx" { String::new() } else { domain };
        let name = if name.is_empty() { output.first().cloned().unwrap_or_default() } else { name };
        Ok(Self { name, operator: op_type, domain, inputs: input, outputs: output, attributes })
    }

    /// The name of an input; empty where it is absent.
    pub fn input(&self, i: usize) -> &str {
        self.inputs.get(i).map_or("", String::as_str)
    }

    /// The inputs that are present.
    pub fn used_inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(String::as_str).filter(|name| !name.is_empty())
    }

    fn find(&self, name: &str) -> Option<&AttributeProto> {
        self.attributes.iter().find(|a| a.name == name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        self.find(name).map(|a| a.i.unwrap_or(0))
    }

    /// Whether an attribute is present and not 0.
    pub fn flag(&self, name: &str) -> bool {
        self.int(name).is_some_and(|v| v != 0)
    }

    pub fn float(&self, name: &str) -> Option<f32> {
        self.find(name).map(|a| a.f.unwrap_or(0.0))
    }

    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        self.find(name).map(|a| a.floats.as_slice())
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.find(name).map(|a| a.ints.as_slice())
    }

    pub fn text(&self, name: &str) -> Option<&[u8]> {
        self.find(name).map(|a| &a.s[..])
    }

    /// A tensor attribute, whose numbers must be in the node itself: external data is for initializers.
    pub fn constant(&self, name: &str) -> Result<Option<Constant>, String> {
        let Some(bytes) = self.find(name).and_then(|a| a.t.as_ref()) else { return Ok(None) };
        let proto: TensorProto = decode(bytes).map_err(|e| e.to_string())?;
        tensors::inline(&proto).map(Some)
    }

    pub fn size(&self, name: &str) -> Result<Option<usize>, String> {
        let size = |v: i64| usize::try_from(v).map_err(|_| format!("{name} of at least 0, found {v}"));
        self.int(name).map(size).transpose()
    }

    /// An attribute of rows and columns.
    pub fn pair(&self, name: &str) -> Result<Option<[usize; 2]>, String> {
        match self.ints(name) {
            None => Ok(None),
            Some(&[rows, columns]) => match (usize::try_from(rows), usize::try_from(columns)) {
                (Ok(rows), Ok(columns)) => Ok(Some([rows, columns])),
                _ => Err(format!("{name} of at least 0, found {rows} and {columns}")),
            },
            Some(other) => Err(format!("{name} of rows and columns, found {} numbers", other.len())),
        }
    }
}
