using System.Buffers.Binary;

namespace Armor.Runtime.Tokenization;

/// <summary>Walks the fields of a protobuf message, every length checked against what is there.</summary>
internal ref struct ProtobufReader(string file, ReadOnlySpan<byte> message)
{
    private ReadOnlySpan<byte> rest = message;

    /// <summary>The number of the field that <see cref="Next"/> came to.</summary>
    internal int Field { get; private set; }

    /// <summary>The value of a field of bytes, text or a message; empty for numbers.</summary>
    internal ReadOnlySpan<byte> Bytes { get; private set; }

    /// <summary>The value of a whole number, and the raw bits of a fixed one.</summary>
    internal ulong Number { get; private set; }

    internal readonly float Single => BitConverter.UInt32BitsToSingle((uint)Number);

    /// <summary>Goes to the next field; false at the end of the message.</summary>
    /// <exception cref="Checkpoints.CheckpointException">The message is cut off or has a wire type that protobuf lacks.</exception>
    internal bool Next()
    {
        if (rest.IsEmpty)
        {
            return false;
        }

        ulong tag = Varint();
        Field = tag >> 3 <= int.MaxValue ? (int)(tag >> 3) : throw Broken("a field number out of range");
        Bytes = default;
        Number = 0;
        switch (tag & 7)
        {
            case 0:
                Number = Varint();
                break;
            case 1:
                Number = BinaryPrimitives.ReadUInt64LittleEndian(Take(8));
                break;
            case 2:
                Bytes = Take(Varint());
                break;
            case 5:
                Number = BinaryPrimitives.ReadUInt32LittleEndian(Take(4));
                break;
            default:
                throw Broken($"wire type {tag & 7}");
        }

        return true;
    }

    private ulong Varint()
    {
        ulong value = 0;
        for (int shift = 0; shift < 64; shift += 7)
        {
            byte part = Take(1)[0];
            value |= (ulong)(part & 0x7F) << shift;
            if (part < 0x80)
            {
                return value;
            }
        }

        throw Broken("a number of more than 64 bits");
    }

    private ReadOnlySpan<byte> Take(ulong count)
    {
        if (count > (ulong)rest.Length)
        {
            throw Broken($"a field of {count} bytes where {rest.Length} are left");
        }

        ReadOnlySpan<byte> taken = rest[..(int)count];
        rest = rest[(int)count..];
        return taken;
    }

    private readonly Checkpoints.CheckpointException Broken(string found) => TokenizerErrors.Create(file, "not a protobuf message", "a SentencePiece model", found);
}
