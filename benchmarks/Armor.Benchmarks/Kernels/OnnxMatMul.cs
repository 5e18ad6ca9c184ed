using System.Runtime.InteropServices;
using System.Text;

namespace Armor.Benchmarks.Kernels;

/// <summary>Writes an ONNX model of one node, y = x · Wᵀ with a constant weight, in the wire format of protocol buffers.</summary>
internal static class OnnxMatMul
{
    public const string Input = "x";
    public const string Output = "y";

    private const string Weight = "w";
    private const string BatchSize = "batch";
    private const int Version = 8;
    private const int OperatorSet = 17;
    private const int Float = 1;

    /// <summary>The bytes of a model file.</summary>
    /// <param name="weight">[rows, columns].</param>
    /// <param name="rows">Outputs.</param>
    /// <param name="columns">Inputs.</param>
    public static byte[] Write(ReadOnlySpan<float> weight, int rows, int columns)
    {
        // MatMul multiplies from the left: the weight is stored as [columns, rows].
        var transposed = new float[weight.Length];
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                transposed[((long)column * rows) + row] = weight[(row * columns) + column];
            }
        }

        Message node = new Message().Text(1, Input).Text(1, Weight).Text(2, Output).Text(4, "MatMul");
        Message values = new Message().Number(1, columns).Number(1, rows).Number(2, Float).Text(8, Weight).Bytes(9, MemoryMarshal.AsBytes<float>(transposed));
        Message graph = new Message().Part(1, node).Text(2, "product").Part(5, values).Part(11, Value(Input, columns)).Part(12, Value(Output, rows));
        return new Message().Number(1, Version).Part(7, graph).Part(8, new Message().Number(2, OperatorSet)).ToArray();
    }

    /// <summary>A matrix of float32, [batch, size].</summary>
    private static Message Value(string name, int size)
    {
        Message shape = new Message().Part(1, new Message().Text(2, BatchSize)).Part(1, new Message().Number(1, size));
        return new Message().Text(1, name).Part(2, new Message().Part(1, new Message().Number(1, Float).Part(2, shape)));
    }

    private sealed class Message
    {
        private const int LengthDelimited = 2;

        private readonly MemoryStream stream = new();

        public Message Number(int field, long value)
        {
            Variable(field << 3);
            Variable(value);
            return this;
        }

        public Message Text(int field, string text) => Bytes(field, Encoding.UTF8.GetBytes(text));

        public Message Part(int field, Message message) => Bytes(field, message.ToArray());

        public Message Bytes(int field, ReadOnlySpan<byte> bytes)
        {
            Variable((field << 3) | LengthDelimited);
            Variable(bytes.Length);
            stream.Write(bytes);
            return this;
        }

        public byte[] ToArray() => stream.ToArray();

        private void Variable(long value)
        {
            for (; value > 0x7f; value >>= 7)
            {
                stream.WriteByte((byte)(value | 0x80));
            }

            stream.WriteByte((byte)value);
        }
    }
}
