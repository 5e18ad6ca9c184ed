using System.Text;

namespace Armor.Runtime.Tokenization;

/// <summary>
/// Reads a SentencePiece <c>tokenizer.model</c> of the BPE kind; field numbers as in SentencePiece's sentencepiece_model.proto. A pair's rank is its
/// union's place in the order of scores, which is how SentencePiece merges. (Microsoft.ML.Tokenizers 2.0.1 reads these files too, but
/// merges runs of one character otherwise than SentencePiece: "____" of Llama 2 becomes "▁__ __" instead of "▁_ ___".)
/// </summary>
internal static class SentencePieceModel
{
    private const long MaximumFileSize = 256L << 20;
    private const int LongestPiece = 1024;

    private enum PieceType
    {
        Normal = 1,
        Unknown = 2,
        Control = 3,
        UserDefined = 4,
        Unused = 5,
        Byte = 6,
    }

    internal static TokenizerDefinition Read(string path)
    {
        var model = new Parsed();
        byte[] file = ReadFile(path);
        var reader = new ProtobufReader(path, file);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 1:
                    model.Pieces.Add(ReadPiece(path, reader.Bytes, model.Pieces.Count));
                    break;
                case 2:
                    ReadTrainer(path, reader.Bytes, model);
                    break;
                case 3:
                    ReadNormalizer(path, reader.Bytes, model);
                    break;
                default:
                    break; // self-tests and extensions
            }
        }

        return Build(path, model);
    }

    private static byte[] ReadFile(string path)
    {
        try
        {
            long size = new FileInfo(path).Length;
            return size <= MaximumFileSize
                ? File.ReadAllBytes(path)
                : throw TokenizerErrors.Create(path, "the file is too large", $"at most {MaximumFileSize} bytes", $"{size} bytes");
        }
        catch (Exception exception) when (exception is UnauthorizedAccessException or (IOException and not Checkpoints.CheckpointException))
        {
            throw TokenizerErrors.Create(path, "cannot be read", "a readable file", exception.Message, exception);
        }
    }

    private static Piece ReadPiece(string path, ReadOnlySpan<byte> message, int id)
    {
        string? text = null;
        float score = 0;
        var type = PieceType.Normal;
        var reader = new ProtobufReader(path, message);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 1:
                    text = Encoding.UTF8.GetString(reader.Bytes);
                    break;
                case 2:
                    score = reader.Single;
                    break;
                case 3:
                    type = (PieceType)reader.Number;
                    break;
                default:
                    break;
            }
        }

        if (string.IsNullOrEmpty(text) || text.Length > LongestPiece || float.IsNaN(score))
        {
            throw TokenizerErrors.Create(
                path, $"piece {id} is not usable", $"a text of 1 to {LongestPiece} characters with a score", text is null ? "no text" : $"'{text}' with score {score}");
        }

        return new Piece(text, score, type);
    }

    private static void ReadTrainer(string path, ReadOnlySpan<byte> message, Parsed model)
    {
        var reader = new ProtobufReader(path, message);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 3:
                    model.Type = (int)reader.Number;
                    break;
                case 24:
                    model.SpaceAsSuffix = reader.Number != 0;
                    break;
                case 35:
                    model.ByteFallback = reader.Number != 0;
                    break;
                case 41:
                    model.Begin = (int)reader.Number;
                    break;
                default:
                    break;
            }
        }
    }

    private static void ReadNormalizer(string path, ReadOnlySpan<byte> message, Parsed model)
    {
        var reader = new ProtobufReader(path, message);
        while (reader.Next())
        {
            switch (reader.Field)
            {
                case 2:
                    model.CharacterMap = reader.Bytes.Length > 0;
                    break;
                case 3:
                    model.DummyPrefix = reader.Number != 0;
                    break;
                case 4:
                    model.RemoveExtraSpaces = reader.Number != 0;
                    break;
                case 5:
                    model.EscapeSpaces = reader.Number != 0;
                    break;
                default:
                    break;
            }
        }
    }

    private static TokenizerDefinition Build(string path, Parsed model)
    {
        Refuse(path, model.Pieces.Count == 0, "the model has no pieces", "a vocabulary", "0 pieces");
        Refuse(path, model.Type != 2, "the kind of SentencePiece model is not supported", "BPE (2)", model.Type == 1 ? "unigram (1)" : $"{model.Type}");
        Refuse(path, model.CharacterMap, "the normalization rule is not supported", "identity", "a character map");
        Refuse(path, model.SpaceAsSuffix || !model.EscapeSpaces, "the treatment of spaces is not supported", "escaped, as a prefix", "another");
        Refuse(path, model.Pieces.Any(piece => piece.Type == PieceType.Unused), "pieces marked unused are not supported", "none", "at least one");

        var vocabulary = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (Piece piece in model.Pieces)
        {
            Refuse(path, !vocabulary.TryAdd(piece.Text, vocabulary.Count), "the vocabulary repeats itself", "every piece once", $"'{piece.Text}'");
        }

        int unknown = model.Pieces.FindIndex(piece => piece.Type == PieceType.Unknown);
        List<AddedToken> special = [.. Tokens(model, type => type is PieceType.Control or PieceType.Unknown, special: true)];
        bool begins = special.Exists(token => token.Id == model.Begin) && TokenizerConfiguration.Read(path).AddBeginOfSequence != false;
        return new TokenizerDefinition
        {
            Source = path,
            Vocabulary = vocabulary,
            Merges = FindMerges(model.Pieces, vocabulary),
            ByteLevel = false,
            ByteFallback = model.ByteFallback,
            IgnoreMerges = false,
            UnknownToken = unknown < 0 ? null : unknown,
            Normalizer = TextNormalizer.SentencePiece(model.RemoveExtraSpaces, model.DummyPrefix),
            Splitter = PieceSplitter.None,
            AddedTokens = special,
            Unsplit = [.. Tokens(model, type => type == PieceType.UserDefined, special: false)],
            BeginOfSequence = begins ? model.Begin : null,
            PrependsSpace = model.DummyPrefix,
        };
    }

    private static IEnumerable<AddedToken> Tokens(Parsed model, Func<PieceType, bool> choose, bool special) =>
        model.Pieces.Index().Where(entry => choose(entry.Item.Type))
            .Select(entry => new AddedToken(entry.Index, entry.Item.Text, special, StripLeft: false, StripRight: false, SingleWord: false));

    /// <summary>Every way to put a piece together from two others. Equal scores share a rank, so that the leftmost place decides.</summary>
    private static List<MergeRule> FindMerges(List<Piece> pieces, Dictionary<string, int> vocabulary)
    {
        var rules = new List<MergeRule>();
        var parts = vocabulary.GetAlternateLookup<ReadOnlySpan<char>>();
        int rank = -1;
        float score = float.NaN;
        foreach ((int id, Piece piece) in pieces.Index().Where(entry => IsText(entry.Item)).OrderByDescending(entry => entry.Item.Score))
        {
            rank += piece.Score == score ? 0 : 1;
            score = piece.Score;
            for (int cut = 1; cut < piece.Text.Length; cut++)
            {
                if (parts.TryGetValue(piece.Text.AsSpan(0, cut), out int left) && parts.TryGetValue(piece.Text.AsSpan(cut), out int right)
                    && IsText(pieces[left]) && IsText(pieces[right]))
                {
                    rules.Add(new MergeRule(left, right, id, rank));
                }
            }
        }

        return rules;

        static bool IsText(Piece piece) => piece.Type == PieceType.Normal;
    }

    private static void Refuse(string path, bool condition, string problem, string expected, string found)
    {
        if (condition)
        {
            throw TokenizerErrors.Create(path, problem, expected, found);
        }
    }

    private sealed record Piece(string Text, float Score, PieceType Type);

    /// <summary>The message's fields, with protobuf's defaults.</summary>
    private sealed class Parsed
    {
        internal List<Piece> Pieces { get; } = [];

        internal int Type { get; set; } = 1;

        internal int Begin { get; set; } = 1;

        internal bool ByteFallback { get; set; }

        internal bool SpaceAsSuffix { get; set; }

        internal bool CharacterMap { get; set; }

        internal bool DummyPrefix { get; set; } = true;

        internal bool RemoveExtraSpaces { get; set; } = true;

        internal bool EscapeSpaces { get; set; } = true;
    }
}
