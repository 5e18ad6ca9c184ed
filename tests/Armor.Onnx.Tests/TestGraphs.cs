using Armor.Onnx.Graphs;
using Armor.Onnx.Proto;
using Google.Protobuf;
using Microsoft.ML.OnnxRuntime;
using Microsoft.ML.OnnxRuntime.Tensors;
using DataType = Armor.Onnx.Proto.TensorProto.Types.DataType;
using TensorElementType = Armor.Runtime.Checkpoints.TensorElementType;

namespace Armor.Onnx.Tests;

/// <summary>Small models of other kinds than decoders, of seeded random weights, made with our own writer.</summary>
internal static class TestGraphs
{
    public const int EncoderVocabulary = 61;
    public const int EncoderHidden = 32;
    public const int ImageSize = 16;
    public const int Classes = 10;

    private const int Heads = 4;

    /// <summary>
    /// A transformer encoder of two layers in the way of BERT: token ids, mask and token types in, hidden states [batch, length, 32] out. Linears have
    /// biases, which are added by nodes of their own.
    /// </summary>
    public static ModelProto Encoder(int seed = 1)
    {
        var graph = new GraphProto { Name = "encoder" };
        var builder = new GraphBuilder(graph);
        var random = new Random(seed);
        string ids = builder.Input("input_ids", DataType.Int64, "batch", "length");
        string mask = builder.Input("attention_mask", DataType.Int64, "batch", "length");
        string types = builder.Input("token_type_ids", DataType.Int64, "batch", "length");
        string x = builder.Node("Add",
        [
            builder.Node("Gather", [Random("embeddings.word", EncoderVocabulary, EncoderHidden), ids]),
            builder.Node("Gather", [Random("embeddings.type", 2, EncoderHidden), types]),
        ]);
        string seen = builder.Node("Cast", [mask], null, GraphBuilder.Attribute("to", (int)DataType.Float));
        string missing = builder.Node("Mul", [builder.Node("Sub", [seen, builder.Scalar("one", 1)]), builder.Scalar("large", 1e4f)]);
        string bias = builder.Node("Unsqueeze", [missing, builder.Integers(1, 2)]);
        for (int layer = 0; layer < 2; layer++)
        {
            string prefix = $"layer.{layer}.";
            string a = Norm(x, prefix + "attention.norm");
            string q = Cut(Linear(a, prefix + "attention.query", EncoderHidden, EncoderHidden));
            string k = Cut(Linear(a, prefix + "attention.key", EncoderHidden, EncoderHidden));
            string v = Cut(Linear(a, prefix + "attention.value", EncoderHidden, EncoderHidden));
            string columns = builder.Node("Transpose", [k], null, GraphBuilder.Attribute("perm", new long[] { 0, 1, 3, 2 }));
            string scores = builder.Node("Mul", [builder.Node("MatMul", [q, columns], prefix + "scores"), builder.Scalar("scale", MathF.Sqrt(Heads / (float)EncoderHidden))]);
            string shares = builder.Node("Softmax", [builder.Node("Add", [scores, bias])], null, GraphBuilder.Attribute("axis", -1));
            string context = builder.Node("Transpose", [builder.Node("MatMul", [shares, v])], null, GraphBuilder.Attribute("perm", new long[] { 0, 2, 1, 3 }));
            string joined = builder.Node("Reshape", [context, builder.Integers(0, 0, EncoderHidden)]);
            x = builder.Node("Add", [x, Linear(joined, prefix + "attention.output", EncoderHidden, EncoderHidden)]);
            string m = Linear(Norm(x, prefix + "mlp.norm"), prefix + "mlp.up", EncoderHidden, 2 * EncoderHidden);
            string erf = builder.Node("Erf", [builder.Node("Mul", [m, builder.Scalar("root", MathF.Sqrt(0.5f))])]);
            string gelu = builder.Node("Mul", [builder.Node("Mul", [m, builder.Node("Add", [erf, builder.Scalar("one", 1)])]), builder.Scalar("half", 0.5f)]);
            x = builder.Node("Add", [x, Linear(gelu, prefix + "mlp.down", 2 * EncoderHidden, EncoderHidden)]);
        }

        builder.NodeTo("Identity", [Norm(x, "norm")], "last_hidden_state");
        builder.Output("last_hidden_state", DataType.Float, "batch", "length", EncoderHidden);
        return GraphBuilder.Model(graph);

        string Random(string name, params long[] shape) => builder.Floats(name, Normals(random, shape), TensorElementType.Float32, shape);

        string Linear(string rows, string name, int inputs, int outputs)
        {
            string weight = builder.Floats(name + ".weight", Weight(random, inputs, outputs), TensorElementType.Float32, inputs, outputs);
            string product = builder.Node("MatMul", [rows, weight], name);
            return builder.Node("Add", [product, Random(name + ".bias", outputs)], name + ".biased");
        }

        string Norm(string rows, string name) =>
            builder.Node("LayerNormalization", [rows, builder.Floats(name + ".scale", Ones(EncoderHidden), TensorElementType.Float32, EncoderHidden)], name);

        string Cut(string rows)
        {
            string cut = builder.Node("Reshape", [rows, builder.Integers(0, 0, Heads, EncoderHidden / Heads)]);
            return builder.Node("Transpose", [cut], null, GraphBuilder.Attribute("perm", new long[] { 0, 2, 1, 3 }));
        }
    }

    /// <summary>
    /// A small vision model: images [batch, 3, 16, 16] are cut into patches by a convolution, mixed along patches and along channels (an MLP each), averaged
    /// and classified by a Gemm.
    /// </summary>
    public static ModelProto Vision(int seed = 2)
    {
        const int Hidden = 24;
        const int Patches = 16;
        var graph = new GraphProto { Name = "vision" };
        var builder = new GraphBuilder(graph);
        var random = new Random(seed);
        string image = builder.Input("pixel_values", DataType.Float, "batch", 3, ImageSize, ImageSize);
        string patches = builder.Node(
            "Conv", [image, builder.Floats("patch.weight", Normals(random, [Hidden, 3, 4, 4], 0.15f), TensorElementType.Float32, Hidden, 3, 4, 4)], "patch",
            GraphBuilder.Attribute("strides", new long[] { 4, 4 }), GraphBuilder.Attribute("kernel_shape", new long[] { 4, 4 }));
        string x = builder.Node("Reshape", [patches, builder.Integers(0, Hidden, Patches)]); // channels before patches
        x = builder.Node("Add", [x, Mlp(x, "patches", Patches)]);
        x = builder.Node("Transpose", [x], null, GraphBuilder.Attribute("perm", new long[] { 0, 2, 1 }));
        x = builder.Node("Add", [x, Mlp(x, "channels", Hidden)]);
        string mean = builder.Node("ReduceMean", [x], null, GraphBuilder.Attribute("axes", new long[] { 1 }), GraphBuilder.Attribute("keepdims", 0));
        string hidden = builder.Node(
            "Gemm", [mean, Stored("neck.weight", 40, Hidden), builder.Floats("neck.bias", Normals(random, [40]), TensorElementType.Float32, 40)], "neck",
            GraphBuilder.Attribute("transB", 1));
        string relu = builder.Node("Relu", [hidden]);
        builder.NodeTo("Gemm", [relu, Stored("head.weight", Classes, 40)], "logits", GraphBuilder.Attribute("transB", 1));
        builder.Output("logits", DataType.Float, "batch", Classes);
        return GraphBuilder.Model(graph);

        string Stored(string name, int outputs, int inputs) =>
            builder.Floats(name, Normals(random, [outputs, inputs], 1 / MathF.Sqrt(inputs)), TensorElementType.Float32, outputs, inputs);

        string Mlp(string rows, string name, int size)
        {
            string up = builder.Node("MatMul", [rows, builder.Floats(name + ".up", Weight(random, size, 2 * size), TensorElementType.Float32, size, 2 * size)], name + ".up");
            return builder.Node(
                "MatMul", [builder.Node("Relu", [up]), builder.Floats(name + ".down", Weight(random, 2 * size, size), TensorElementType.Float32, 2 * size, size)], name + ".down");
        }
    }

    /// <summary>Writes a model.</summary>
    public static string Save(ModelProto model, string path)
    {
        File.WriteAllBytes(path, model.ToByteArray());
        return path;
    }

    /// <summary>Images with what images have: neighbours are alike, and channels too.</summary>
    public static DenseTensor<float> Images(int count, int seed)
    {
        var random = new Random(seed);
        var images = new DenseTensor<float>([count, 3, ImageSize, ImageSize]);
        for (int image = 0; image < count; image++)
        {
            (double u, double v, double phase) = (random.NextDouble(), random.NextDouble(), 6 * random.NextDouble());
            for (int channel = 0; channel < 3; channel++)
            {
                for (int y = 0; y < ImageSize; y++)
                {
                    for (int x = 0; x < ImageSize; x++)
                    {
                        images[image, channel, y, x] = (float)(Math.Sin((u * x) + (v * y) + phase + (0.4 * channel)) + (0.2 * ArmorCheckpoints.Normal(random)));
                    }
                }
            }
        }

        return images;
    }

    /// <summary>Sentences of a language in which a few words are frequent.</summary>
    public static int[][] Sentences(int count, int length, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => Enumerable.Range(0, length)
            .Select(_ => (int)(EncoderVocabulary * Math.Pow(random.NextDouble(), 2))).ToArray())];
    }

    /// <summary>Runs a model and gives its first output.</summary>
    public static float[] Run(string path, IReadOnlyCollection<NamedOnnxValue> inputs)
    {
        using var session = new InferenceSession(path);
        using IDisposableReadOnlyCollection<DisposableNamedOnnxValue> outputs = session.Run(inputs);
        return outputs[0].AsTensor<float>().ToArray();
    }

    /// <summary>‖found − expected‖ / ‖expected‖.</summary>
    public static double Error(float[] found, float[] expected) =>
        Math.Sqrt(found.Zip(expected).Sum(pair => Math.Pow((double)pair.First - pair.Second, 2)) / expected.Sum(value => (double)value * value));

    public static float[] Normals(Random random, long[] shape, float deviation = 1) =>
        [.. Enumerable.Range(0, (int)shape.Aggregate(1L, (product, size) => product * size)).Select(_ => deviation * ArmorCheckpoints.Normal(random))];

    private static float[] Weight(Random random, int inputs, int outputs) => Normals(random, [inputs, outputs], 1 / MathF.Sqrt(inputs));

    private static float[] Ones(int count) => [.. Enumerable.Repeat(1f, count)];
}
