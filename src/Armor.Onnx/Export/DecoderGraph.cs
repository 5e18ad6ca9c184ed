using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;
using Armor.Runtime.Checkpoints;
using Armor.Runtime.Models;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;

namespace Armor.Onnx.Export;

/// <summary>
/// A decoder as a graph of standard operators, in the layout that Optimum and ONNX Runtime GenAI read: token ids, attention mask and the keys and values so
/// far in; logits and all keys and values out. The mask's ones are counted for positions, so sequences may be padded on the left.
/// </summary>
internal sealed partial class DecoderGraph
{
    // The least float32: what attention must not see, without the NaN of a row of infinities.
    private const float Unseen = float.MinValue;

    // Beyond this the tables of the rotation would outweigh many a model.
    private const long MostAngles = 1 << 28;

    private readonly ModelConfiguration _configuration;
    private readonly GraphProto _graph = new() { Name = "decoder" };
    private readonly GraphBuilder _builder;
    private readonly DecoderWeights _weights;
    private readonly Dictionary<int, string> _masks = [];
    private readonly Dictionary<bool, (string Cosine, string Sine)> _rotations = [];
    private string _length = string.Empty;
    private string _totalLength = string.Empty;
    private string _positions = string.Empty;

    private DecoderGraph(CheckpointFolder checkpoint, ArmorCheckpoint? armor, OnnxExportOptions options, Action<TensorProto> stored)
    {
        _configuration = checkpoint.Configuration;
        _builder = new GraphBuilder(_graph, stored);
        _weights = new DecoderWeights(checkpoint, armor, _builder, _graph, options);
    }

    /// <summary>The name of a layer's keys or values among the inputs.</summary>
    public static string Past(int layer, bool isKey) => FormattableString.Invariant($"past_key_values.{layer}.{(isKey ? "key" : "value")}");

    /// <summary>The name of a layer's keys or values among the outputs.</summary>
    public static string Present(int layer, bool isKey) => FormattableString.Invariant($"present.{layer}.{(isKey ? "key" : "value")}");

    /// <summary>Builds the model.</summary>
    /// <param name="checkpoint">All tensors.</param>
    /// <param name="armor">The same folder's factors; null for a dense one.</param>
    /// <param name="options">How constants are stored.</param>
    /// <param name="stored">Told of every constant, to write its data away.</param>
    /// <param name="progress">Told of every layer.</param>
    /// <param name="cancellationToken">Checked before every layer.</param>
    public static ModelProto Build(
        CheckpointFolder checkpoint,
        ArmorCheckpoint? armor,
        OnnxExportOptions options,
        Action<TensorProto> stored,
        IProgress<ExportProgress>? progress,
        CancellationToken cancellationToken)
    {
        RequireSupported(checkpoint);
        return new DecoderGraph(checkpoint, armor, options, stored).Build(progress, cancellationToken);
    }

    /// <summary>Refuses what the graph cannot express yet.</summary>
    public static void RequireSupported(CheckpointFolder checkpoint)
    {
        ModelConfiguration configuration = checkpoint.Configuration;
        if (configuration.Experts is not null)
        {
            throw new OnnxException(checkpoint.Folder, "models with experts cannot be exported as ONNX yet", null, "a model with MLPs", $"{configuration.Family}");
        }

        if (configuration.RopeScaling?.Kind == RopeScalingKind.LongRope)
        {
            throw new OnnxException(
                checkpoint.Folder,
                "LongRoPE cannot be exported as ONNX: keys in the cache would have to be computed anew where a sequence passes the original context",
                null,
                "one rotation for all lengths",
                $"{configuration.Family} with LongRoPE");
        }

        if ((long)configuration.ContextLength * configuration.RotarySize > MostAngles)
        {
            throw new OnnxException(
                checkpoint.Folder, "the context is too long for tables of its rotation", null, $"context × rotated size of at most {MostAngles}",
                $"{configuration.ContextLength} × {configuration.RotarySize}");
        }
    }

    private ModelProto Build(IProgress<ExportProgress>? progress, CancellationToken cancellationToken)
    {
        string tokens = _builder.Input("input_ids", DataType.Int64, "batch_size", "sequence_length");
        string mask = _builder.Input("attention_mask", DataType.Int64, "batch_size", "total_sequence_length");
        AddPositions(tokens, mask);

        string embedding = _weights.Tensor(ModelShapes.Embedding);
        string x = _builder.Node("Gather", [embedding, tokens], "embedded");
        if (_configuration.EmbeddingScale != 1)
        {
            x = _builder.Node("Mul", [x, _builder.Scalar("embedding_scale", _configuration.EmbeddingScale)], "embedded_scaled");
        }

        for (int layer = 0; layer < _configuration.LayerCount; layer++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            x = AddLayer(x, layer, mask);
            progress?.Report(new ExportProgress(layer + 1, _configuration.LayerCount, ModelShapes.LayerPrefix(layer).TrimEnd('.')));
        }

        AddHead(Norm(x, ModelShapes.FinalNorm, "final_norm"), embedding);
        return GraphBuilder.Model(_graph);
    }

    private string AddLayer(string x, int layer, string mask)
    {
        string prefix = ModelShapes.LayerPrefix(layer);
        LinearDescription[] linears = [.. ModelShapes.Linears(_configuration)];
        string Linear(string rows, string name) => _weights.Linear(rows, prefix + name, linears.First(linear => linear.Name == name).HasBias);

        string a = Norm(x, prefix + ModelShapes.AttentionNorm, prefix + "attention_input");
        string query = Heads(Linear(a, ModelShapes.Query), _configuration.AttentionHeadCount, prefix + "query", prefix + ModelShapes.QueryNorm);
        string key = Heads(Linear(a, ModelShapes.Key), _configuration.KeyValueHeadCount, prefix + "key", prefix + ModelShapes.KeyNorm);
        string value = Heads(Linear(a, ModelShapes.Value), _configuration.KeyValueHeadCount, prefix + "value", null);
        bool isLocal = _configuration.HasLocalRotation(layer);
        string keys = Remember(Rotate(key, isLocal, prefix + "key"), layer, isKey: true);
        string values = Remember(value, layer, isKey: false);
        string context = Attend(Rotate(query, isLocal, prefix + "query"), keys, values, Mask(mask, _configuration.SlidingWindowOf(layer)), prefix);
        x = AddTo(x, Linear(context, ModelShapes.AttentionOutput), prefix + ModelShapes.AttentionOutputNorm, prefix + "after_attention");

        string m = Norm(x, prefix + ModelShapes.MlpNormOf(_configuration), prefix + "mlp_input");
        string gate = Activate(Linear(m, ModelShapes.Gate), prefix);
        string d = _builder.Node("Mul", [gate, Linear(m, ModelShapes.Up)], prefix + "mlp_gated");
        return AddTo(x, Linear(d, ModelShapes.Down), prefix + ModelShapes.MlpOutputNorm, prefix + "after_mlp");
    }

    private string AddTo(string x, string added, string norm, string name) =>
        _builder.Node("Add", [x, _configuration.HasOutputNorms ? Norm(added, norm, name + "_normed") : added], name);

    // x / √(mean x² + ε) · weight
    private string Norm(string x, string weight, string name)
    {
        string squares = _builder.Node("Mul", [x, x], name + "_squares");
        string mean = _builder.Node(
            "ReduceMean", [squares], name + "_mean", GraphBuilder.Attribute("axes", new long[] { -1 }), GraphBuilder.Attribute("keepdims", 1));
        string sum = _builder.Node("Add", [mean, _builder.Scalar(name + "_epsilon", _configuration.NormEpsilon)], name + "_sum");
        string unit = _builder.Node("Div", [x, _builder.Node("Sqrt", [sum], name + "_root")], name + "_unit");
        return _builder.Node("Mul", [unit, _weights.Vector(weight, _configuration.HasUnitOffsetNorms ? 1 : 0)], name);
    }

    private string Activate(string x, string prefix)
    {
        if (_configuration.Activation == ActivationFunction.Silu)
        {
            return _builder.Node("Mul", [x, _builder.Node("Sigmoid", [x], prefix + "gate_sigmoid")], prefix + "gate");
        }

        string cube = _builder.Node("Mul", [_builder.Node("Mul", [x, x], prefix + "gate_square"), x], prefix + "gate_cube");
        string share = _builder.Node("Mul", [cube, _builder.Scalar("gelu_cubic", 0.044715f)], prefix + "gate_share");
        string argument = _builder.Node(
            "Mul", [_builder.Node("Add", [x, share], prefix + "gate_sum"), _builder.Scalar("gelu_slope", (float)Math.Sqrt(2 / Math.PI))], prefix + "gate_argument");
        string step = _builder.Node("Add", [_builder.Node("Tanh", [argument], prefix + "gate_tanh"), _builder.Scalar("one", 1)], prefix + "gate_step");
        return _builder.Node("Mul", [_builder.Node("Mul", [x, step], prefix + "gate_twice"), _builder.Scalar("half", 0.5f)], prefix + "gate");
    }

    // [batch, length, heads · size] to [batch, heads, length, size]
    private string Heads(string rows, int heads, string name, string? norm)
    {
        string cut = _builder.Node("Reshape", [rows, _builder.Integers(0, 0, heads, _configuration.HeadSize)], name + "_cut");
        string normed = norm is not null && _configuration.QueryKeyNorm ? Norm(cut, norm, name + "_normed") : cut;
        return _builder.Node("Transpose", [normed], name + "_heads", GraphBuilder.Attribute("perm", new long[] { 0, 2, 1, 3 }));
    }

    private string Remember(string added, int layer, bool isKey)
    {
        object[] Shape(string length) => ["batch_size", _configuration.KeyValueHeadCount, length, _configuration.HeadSize];
        string past = _builder.Input(Past(layer, isKey), DataType.Float, Shape("past_sequence_length"));
        string present = Present(layer, isKey);
        _builder.NodeTo("Concat", [past, added], present, GraphBuilder.Attribute("axis", 2));
        _builder.Output(present, DataType.Float, Shape("total_sequence_length"));
        return present;
    }

    private string Rotate(string heads, bool isLocal, string name)
    {
        int half = _configuration.RotarySize / 2;
        int rest = _configuration.HeadSize - (2 * half);
        (string cosine, string sine) = Rotation(isLocal);
        string[] parts = _builder.Nodes(
            "Split",
            [heads, rest > 0 ? _builder.Integers(half, half, rest) : _builder.Integers(half, half)],
            rest > 0 ? [name + "_first", name + "_second", name + "_rest"] : [name + "_first", name + "_second"],
            GraphBuilder.Attribute("axis", -1));
        string Times(string part, string factor, string suffix) => _builder.Node("Mul", [part, factor], name + suffix);
        string first = _builder.Node("Sub", [Times(parts[0], cosine, "_fc"), Times(parts[1], sine, "_ss")], name + "_turned_first");
        string second = _builder.Node("Add", [Times(parts[1], cosine, "_sc"), Times(parts[0], sine, "_fs")], name + "_turned_second");
        return _builder.Node("Concat", [first, second, .. parts[2..]], name + "_turned", GraphBuilder.Attribute("axis", -1));
    }

    // Query heads that share keys are rows of one product: [batch, key heads, group · length, size]. The mask has its rows once for each of them.
    private string Attend(string queries, string keys, string values, string mask, string prefix)
    {
        int size = _configuration.HeadSize;
        int groups = _configuration.AttentionHeadCount / _configuration.KeyValueHeadCount;
        string scaled = _builder.Node("Mul", [queries, _builder.Scalar(prefix + "attention_scale", (float)_configuration.AttentionScale)], prefix + "scaled");
        string rows = groups == 1
            ? scaled
            : _builder.Node("Reshape", [scaled, _builder.Integers(0, _configuration.KeyValueHeadCount, -1, size)], prefix + "grouped");
        string columns = _builder.Node("Transpose", [keys], prefix + "keys", GraphBuilder.Attribute("perm", new long[] { 0, 1, 3, 2 }));
        string scores = Cap(_builder.Node("MatMul", [rows, columns], prefix + "scores"), _configuration.AttentionSoftCap, prefix + "scores_capped");
        string masked = _builder.Node("Add", [scores, mask], prefix + "masked");
        string shares = _builder.Node("Softmax", [masked], prefix + "shares", GraphBuilder.Attribute("axis", -1));
        string context = _builder.Node("MatMul", [shares, values], prefix + "context");
        string heads = groups == 1
            ? context
            : _builder.Node("Reshape", [context, _builder.Integers(0, _configuration.AttentionHeadCount, -1, size)], prefix + "context_heads");
        string byToken = _builder.Node("Transpose", [heads], prefix + "context_rows", GraphBuilder.Attribute("perm", new long[] { 0, 2, 1, 3 }));
        return _builder.Node("Reshape", [byToken, _builder.Integers(0, 0, _configuration.QuerySize)], prefix + "attention_output");
    }

    private string Cap(string values, float? cap, string name)
    {
        if (cap is not { } limit)
        {
            return values;
        }

        string constant = _builder.Scalar(name + "_limit", limit);
        return _builder.Node("Mul", [_builder.Node("Tanh", [_builder.Node("Div", [values, constant], name + "_share")], name + "_tanh"), constant], name);
    }

    private void AddHead(string x, string embedding)
    {
        string product = _configuration.TieWordEmbeddings
            ? _builder.Node("MatMul", [x, _builder.Node("Transpose", [embedding], "lm_head.weight", GraphBuilder.Attribute("perm", new long[] { 1, 0 }))], "head")
            : _weights.Linear(x, "lm_head", hasBias: false);
        _builder.NodeTo("Identity", [Cap(product, _configuration.LogitSoftCap, "logits_capped")], "logits");
        _builder.Output("logits", DataType.Float, "batch_size", "sequence_length", _configuration.VocabularySize);
    }
}
