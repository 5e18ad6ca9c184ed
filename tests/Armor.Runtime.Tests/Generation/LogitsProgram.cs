using System.Runtime.InteropServices;
using Armor.Runtime.Generation;
using Armor.Runtime.Kernels;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Runtime.Tests.Generation;

/// <summary>A process of its own: writes which instruction set it has, then the embedded model's logits after a few tokens, as base 64.</summary>
internal static class LogitsProgram
{
    internal static void Run()
    {
        Console.WriteLine(InstructionSets.NameOf(InstructionSets.Best));
        using var backend = new CpuBackend(new CpuBackendOptions { Threads = 1 });
        Console.WriteLine(Convert.ToBase64String(MemoryMarshal.AsBytes<float>(Logits(backend))));
    }

    /// <summary>After tokens of which some come one by one, through a backend.</summary>
    internal static float[] Logits(IKernelBackend backend)
    {
        using var model = ArmorModel.Load(RepositoryFolder.Path("assets/armor-tiny"), new ArmorModelOptions { Backend = backend });
        var logits = new float[model.Configuration.VocabularySize];
        var session = model.CreateSession();
        model.ForwardLogits([2046, 7, 300, 41, 1999, 12, 77], session, logits);
        model.ForwardLogits([5], session, logits);
        model.ForwardLogits([1234], session, logits);
        return logits;
    }
}
