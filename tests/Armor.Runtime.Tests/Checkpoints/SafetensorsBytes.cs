using System.Buffers.Binary;
using System.Text;

namespace Armor.Runtime.Tests.Checkpoints;

/// <summary>Builds safetensors files by hand, right and wrong ones.</summary>
internal static class SafetensorsBytes
{
    public static byte[] File(string header, int dataLength, long? statedLength = null)
    {
        var json = Encoding.UTF8.GetBytes(header);
        var file = new byte[8 + json.Length + dataLength];
        BinaryPrimitives.WriteInt64LittleEndian(file, statedLength ?? json.Length);
        json.CopyTo(file, 8);
        for (var i = 0; i < dataLength; i++)
        {
            file[8 + json.Length + i] = (byte)(i + 1);
        }

        return file;
    }

    public static string Entry(string name, string type, string shape, string offsets)
        => $"\"{name}\":{{\"dtype\":\"{type}\",\"shape\":{shape},\"data_offsets\":{offsets}}}";
}
