using System.Runtime.InteropServices;

namespace Armor.Cuda.Kernels;

/// <summary>Row of layer.cu: a token on its way through the layers.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RowDescription
{
    public nint Pages;
    public int Token;
    public int Position;
}

/// <summary>How a pair of a head's elements turns at a position.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RotationPair
{
    public float Cosine;
    public float Sine;
}

/// <summary>EmbedArguments of layer.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct EmbedArguments
{
    public nint Weight;
    public nint Rows;
    public nint Output;
    public int Columns;
    public int Chunks;
    public float Scale;
}

/// <summary>NormArguments of layer.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct NormArguments
{
    public nint Residual;
    public nint Added;
    public nint Bias;
    public nint AddedNorm;
    public nint Norm;
    public nint Output;
    public int Size;
    public float Epsilon;
}

/// <summary>HeadArguments of heads.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct HeadArguments
{
    public nint Queries;
    public nint Keys;
    public nint Values;
    public nint QueryBias;
    public nint KeyBias;
    public nint ValueBias;
    public nint QueryNorm;
    public nint KeyNorm;
    public nint Rows;
    public nint Rotations;
    public int FirstQuery;
    public int Heads;
    public int KeyHeads;
    public int Size;
    public int Half;
    public int Stride;
    public int Layer;
    public float Epsilon;
}

/// <summary>AttentionArguments of attention.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct AttentionArguments
{
    public nint Queries;
    public nint Context;
    public nint Rows;
    public nint Partials;
    public nint Tickets;
    public int FirstRow;
    public int EndRow;
    public int RowsOfItem;
    public int Heads;
    public int KeyHeads;
    public int Size;
    public int Stride;
    public int Layer;
    public int Window;
    public int Splits;
    public float Scale;
    public float SoftCap;
}

/// <summary>GateArguments of layer.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct GateArguments
{
    public nint Gate;
    public nint Up;
    public nint GateBias;
    public nint UpBias;
    public int Size;
    public int IsGelu;
}

/// <summary>LogitArguments of logits.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct LogitArguments
{
    public nint Logits;
    public nint Parts;
    public nint Tickets;
    public nint Chosen;
    public int Tokens;
    public float SoftCap;
}

/// <summary>Candidate of logits.cu: the highest logit of a row.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct Candidate
{
    public float Value;
    public int Token;
    public int Bad;
    private readonly int _unused;
}
