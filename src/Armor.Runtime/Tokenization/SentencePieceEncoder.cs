using Microsoft.ML.Tokenizers;

namespace Armor.Runtime.Tokenization;

/// <summary>A <c>tokenizer.model</c> (SentencePiece BPE with byte fallback), encoded by Microsoft.ML.Tokenizers.</summary>
internal sealed class SentencePieceEncoder(SentencePieceTokenizer tokenizer) : ITextEncoder
{
    public void Encode(string text, bool first, List<int> tokens) =>
        tokens.AddRange(tokenizer.EncodeToIds(text, addBeginningOfSentence: false, addEndOfSentence: false));

    internal static SentencePieceTokenizer Open(string path)
    {
        try
        {
            using FileStream stream = File.OpenRead(path);
            LlamaTokenizer tokenizer = LlamaTokenizer.Create(stream, addBeginOfSentence: false, addEndOfSentence: false);
            return tokenizer.Vocabulary.Count > 0
                ? tokenizer
                : throw TokenizerErrors.Create(path, "the model has no pieces", "a vocabulary", "0 pieces");
        }
        catch (Exception exception) when (exception is not (Checkpoints.CheckpointException or OutOfMemoryException))
        {
            // A damaged protobuf file surfaces as one of many exceptions.
            throw TokenizerErrors.Create(path, "not a usable SentencePiece model", "a SentencePiece BPE model", exception.Message, exception);
        }
    }
}
