using Armor.Runtime.Generation;
using Armor.Runtime.Kernels.Cpu;

namespace Armor.Benchmarks.Models;

/// <summary>Our own runtime.</summary>
internal sealed class ArmorModelContestant : ModelContestant
{
    private readonly CpuBackend backend;
    private readonly ArmorModel model;
    private readonly GenerationSession session;
    private readonly float[] logits;

    public ArmorModelContestant(string name, string folder, int threads, int capacity, ArmorModelOptions? options = null)
        : base(name)
    {
        backend = new CpuBackend(new CpuBackendOptions { Threads = threads });
        model = ArmorModel.Load(folder, (options ?? new ArmorModelOptions()) with { Backend = backend });
        session = model.CreateSession(capacity);
        logits = new float[model.Configuration.VocabularySize];
        Bytes = Directory.GetFiles(folder, "*.safetensors").Sum(file => new FileInfo(file).Length);
    }

    public override long Bytes { get; }

    public override bool CanLeaveHeadOut => true;

    public override void Rewind(int length) => session.Rewind(length);

    public override void Run(ReadOnlySpan<int> tokens, bool withHead = true) => model.ForwardLogits(tokens, session, withHead ? logits : []);

    public override float[] Logits() => [.. logits];

    public override void Dispose()
    {
        model.Dispose();
        backend.Dispose();
    }
}
