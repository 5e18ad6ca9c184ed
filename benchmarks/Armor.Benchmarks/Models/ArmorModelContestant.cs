using Armor.Cli.Measuring;
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

    /// <param name="name">For the table.</param>
    /// <param name="folder">Dense or ARMOR, tied, its head in bfloat16.</param>
    /// <param name="threads">That multiply.</param>
    /// <param name="capacity">Tokens that the session has room for.</param>
    /// <param name="types">In which types parts are held.</param>
    public ArmorModelContestant(string name, string folder, int threads, int capacity, HeldTypes types)
        : base(name)
    {
        backend = new CpuBackend(new CpuBackendOptions { Threads = threads });
        model = ArmorModel.Load(folder, new ArmorModelOptions { Backend = backend, HeadType = types.Head, WrapperType = types.Wrappers });
        session = model.CreateSession(capacity);
        logits = new float[model.Configuration.VocabularySize];
        Bytes = ModelWork.Of(folder, types).Bytes;
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
