using Armor.Runtime.Chat;
using Armor.Runtime.Generation;
using Armor.Runtime.Tokenization;
using Microsoft.Extensions.AI;

namespace Armor.Extensions.AI.Tests;

public sealed class ArmorChatClientTests
{
    private const string Answer = "Hey, Jim!";
    private static readonly ArmorChatClientOptions Greedy = new() { Generation = GenerationOptions.Greedy };

    private TemporaryFolder folder = null!;
    private ArmorModel model = null!;
    private ArmorChatClient client = null!;

    [OneTimeSetUp]
    public void LoadModel()
    {
        folder = new TemporaryFolder();
        model = ArmorModel.Load(RecitingModel.Write(folder.File("reciting"), Answer));
        client = new ArmorChatClient(model, Greedy with { ModelId = "reciting" });
    }

    [OneTimeTearDown]
    public void DeleteFolder()
    {
        client.Dispose();
        model.Dispose();
        folder.Dispose();
    }

    [Test]
    public async Task AResponseHasTextUsageAndReason()
    {
        ChatMessage[] messages = [new(ChatRole.System, "Be kind."), new(ChatRole.User, "Hello")];
        ChatResponse response = await client.GetResponseAsync(messages);
        int prompt = model.ChatTemplate.Encode([new(ChatTurnRole.System, "Be kind."), new(ChatTurnRole.User, "Hello")], model.Tokenizer).Count;
        Assert.Multiple(() =>
        {
            Assert.That(response.Text, Is.EqualTo(Answer));
            Assert.That(response.Messages.Single().Role, Is.EqualTo(ChatRole.Assistant));
            Assert.That(response.FinishReason, Is.EqualTo(ChatFinishReason.Stop));
            Assert.That(response.ModelId, Is.EqualTo("reciting"));
            Assert.That(response.ResponseId, Is.Not.Empty);
            Assert.That(response.Usage!.InputTokenCount, Is.EqualTo(prompt));
            Assert.That(response.Usage.OutputTokenCount, Is.EqualTo(Answer.Length));
            Assert.That(response.Usage.TotalTokenCount, Is.EqualTo(prompt + Answer.Length));
        });
    }

    [Test]
    public async Task AStreamComesInPiecesAndEndsWithTheReason()
    {
        List<ChatResponseUpdate> updates = await client.GetStreamingResponseAsync("Hello").ToListAsync();
        Assert.Multiple(() =>
        {
            Assert.That(updates, Has.Count.EqualTo(Answer.Length + 1));
            Assert.That(string.Concat(updates.Select(update => update.Text)), Is.EqualTo(Answer));
            Assert.That(updates.Take(updates.Count - 1).Select(update => update.FinishReason), Is.All.Null);
            Assert.That(updates[^1].FinishReason, Is.EqualTo(ChatFinishReason.Stop));
            Assert.That(updates[^1].Contents.OfType<UsageContent>().Single().Details.OutputTokenCount, Is.EqualTo(Answer.Length));
            Assert.That(updates.Select(update => update.MessageId).Distinct().Count(), Is.EqualTo(1));
        });
    }

    [Test]
    public async Task LengthAndStopSequencesEndAnAnswer()
    {
        ChatResponse shorter = await client.GetResponseAsync("Hello", new ChatOptions { MaxOutputTokens = 3 });
        Assert.That((shorter.Text, shorter.FinishReason), Is.EqualTo(("Hey", ChatFinishReason.Length)));
        ChatResponse stopped = await client.GetResponseAsync("Hello", new ChatOptions { StopSequences = [", J", "!"] });
        Assert.That((stopped.Text, stopped.FinishReason), Is.EqualTo(("Hey", ChatFinishReason.Stop)));

        using ArmorModel small = ArmorModel.Load(RecitingModel.Write(folder.File("small"), Answer, context: 26));
        using var full = new ArmorChatClient(small, Greedy);
        ChatResponse cut = await full.GetResponseAsync("H"); // <|im_start|>user.H<|im_end|>.<|im_start|>assistant. are 20 tokens
        Assert.That((cut.Text, cut.FinishReason), Is.EqualTo(("Hey, Ji", ChatFinishReason.Length)));
        Assert.That(async () => await full.GetResponseAsync("far too long"), Throws.ArgumentException.With.Message.Contains("26"));
    }

    [Test]
    public void OptionsOfARequestGoBeforeThoseOfTheClient()
    {
        var own = new GenerationOptions { Temperature = 0.3, TopP = 0.4, TopK = 5, Seed = 6, MaxTokens = 7, StopStrings = ["a"] };
        Assert.That(RequestOptions.Map(client, null, own, null), Is.SameAs(own));
        GenerationOptions unchanged = RequestOptions.Map(client, new ChatOptions(), own, null);
        Assert.That(
            (unchanged.Temperature, unchanged.TopP, unchanged.TopK, unchanged.Seed, unchanged.MaxTokens), Is.EqualTo((0.3, 0.4, (int?)5, 6L, 7)));
        Assert.That(unchanged.StopStrings, Is.EqualTo(own.StopStrings));
        GenerationOptions mapped = RequestOptions.Map(
            client,
            new ChatOptions { Temperature = 0.5f, TopP = 0.25f, TopK = 1, Seed = 2, MaxOutputTokens = 3, StopSequences = ["b"], FrequencyPenalty = 0, ModelId = "m" },
            own,
            "m");
        Assert.That(
            (mapped.Temperature, mapped.TopP, mapped.TopK, mapped.Seed, mapped.MaxTokens), Is.EqualTo((0.5, 0.25, (int?)1, 2L, 3)));
        Assert.That(mapped.StopStrings, Is.EqualTo(new[] { "a", "b" }));
        GenerationOptions raw = RequestOptions.Map(
            client, new ChatOptions { TopK = 9, RawRepresentationFactory = _ => own with { MinP = 0.1, TopK = 8 } }, GenerationOptions.Greedy, null);
        Assert.That((raw.MinP, raw.TopK, raw.Seed), Is.EqualTo((0.1, (int?)9, 6L)));
    }

    [Test]
    public void WhatCannotBeDoneIsRefusedAtOnce()
    {
        (ChatOptions Options, string Named)[] cases =
        [
            (new ChatOptions { Tools = [AIFunctionFactory.Create(() => 1, "one")] }, "tools"),
            (new ChatOptions { ToolMode = ChatToolMode.RequireAny }, "tools"),
            (new ChatOptions { ResponseFormat = ChatResponseFormat.Json }, "JSON"),
            (new ChatOptions { FrequencyPenalty = 1 }, "FrequencyPenalty"),
            (new ChatOptions { PresencePenalty = 1 }, "PresencePenalty"),
            (new ChatOptions { ConversationId = "7" }, "ConversationId"),
            (new ChatOptions { ModelId = "other" }, "other"),
        ];
        Assert.Multiple(() =>
        {
            foreach ((ChatOptions options, string named) in cases)
            {
                Assert.That(() => client.GetStreamingResponseAsync("Hello", options), Throws.TypeOf<NotSupportedException>().With.Message.Contains(named));
            }

            ChatMessage image = new(ChatRole.User, [new DataContent(new byte[] { 1 }, "image/png")]);
            Assert.That(() => client.GetStreamingResponseAsync(image), Throws.TypeOf<NotSupportedException>().With.Message.Contains("DataContent"));
            ChatMessage tool = new(ChatRole.Tool, "result");
            Assert.That(() => client.GetStreamingResponseAsync(tool), Throws.TypeOf<NotSupportedException>().With.Message.Contains("'tool'"));
            Assert.That(() => client.GetStreamingResponseAsync([]), Throws.ArgumentException.With.Message.Contains("no messages"));
            Assert.That(
                () => client.GetStreamingResponseAsync("Hello", new ChatOptions { TopP = 2 }), Throws.ArgumentException.With.Message.Contains("TopP"));
            Assert.That(
                () => new ArmorChatClient(model, new ArmorChatClientOptions { Generation = new GenerationOptions { TopP = 0 } }),
                Throws.ArgumentException.With.Message.Contains("TopP"));
        });
    }

    [Test]
    public void MessagesBecomeTurns()
    {
        ChatMessage[] messages =
        [
            new(ChatRole.System, "one"), new(ChatRole.System, "two"), new(ChatRole.User, [new TextContent("a"), new TextContent("b")]),
            new(ChatRole.Assistant, [new TextReasoningContent("hm"), new TextContent("c")]), new(ChatRole.User, "d"), new(ChatRole.System, "e"),
        ];
        ChatTurn[] rest = [new(ChatTurnRole.User, "ab"), new(ChatTurnRole.Assistant, "c"), new(ChatTurnRole.User, "d"), new(ChatTurnRole.System, "e")];
        Assert.That(RequestTurns.Map(messages, null), Is.EqualTo((ChatTurn[])[new(ChatTurnRole.System, "one\ntwo"), .. rest]));
        Assert.That(RequestTurns.Map(messages, "zero"), Is.EqualTo((ChatTurn[])[new(ChatTurnRole.System, "zero\none\ntwo"), .. rest]));
        Assert.That(RequestTurns.Map(messages[2..], "zero"), Is.EqualTo((ChatTurn[])[new(ChatTurnRole.System, "zero"), .. rest]));
    }

    [Test]
    public async Task SeedsDecideAndRequestsDoNotDisturbOneAnother()
    {
        async Task<string> Draw(int seed) => (await client.GetResponseAsync(
            $"Number {seed}", new ChatOptions { Temperature = 40, Seed = seed, MaxOutputTokens = 12 })).Text;

        string[] alone = new string[6];
        for (int seed = 0; seed < alone.Length; seed++)
        {
            alone[seed] = await Draw(seed);
        }

        Assert.That(alone.Distinct().Count(), Is.EqualTo(alone.Length));
        string[] together = await Task.WhenAll(Enumerable.Range(0, alone.Length).Select(seed => Task.Run(() => Draw(seed))));
        Assert.That(together, Is.EqualTo(alone));
    }

    [Test]
    public async Task CancellationEndsAStreamAndTheClientGoesOn()
    {
        using var source = new CancellationTokenSource();
        int seen = 0;
        Assert.That(
            async () =>
            {
                await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync("Hello", cancellationToken: source.Token))
                {
                    seen++;
                    await source.CancelAsync();
                }
            },
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(seen, Is.EqualTo(1));
        Assert.That((await client.GetResponseAsync("Hello")).Text, Is.EqualTo(Answer));
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync("Hello"))
        {
            break;
        }

        Assert.That((await client.GetResponseAsync("Hello")).Text, Is.EqualTo(Answer), "also after a loop that was left");
    }

    [Test]
    public void ServicesAreItsOwn()
    {
        Assert.Multiple(() =>
        {
            Assert.That(client.GetService(typeof(ArmorModel)), Is.SameAs(model));
            Assert.That(client.GetService(typeof(IChatClient)), Is.SameAs(client));
            Assert.That(client.GetService<ChatClientMetadata>()!.DefaultModelId, Is.EqualTo("reciting"));
            Assert.That(client.GetService<ChatClientMetadata>()!.ProviderName, Is.EqualTo("armor"));
            Assert.That(client.GetService(typeof(ArmorModel), "key"), Is.Null);
            Assert.That(client.GetService(typeof(string)), Is.Null);
        });
    }

    [Test]
    public async Task AnOwnTemplateTakesThePlaceOfTheFolders()
    {
        using var own = new ArmorChatClient(model, Greedy with { Template = new Bare() });
        Assert.That((await own.GetResponseAsync("H")).Text, Is.EqualTo(Answer[1..]));
    }

    /// <summary>Nothing but the user's words.</summary>
    private sealed class Bare : IChatTemplate
    {
        public IReadOnlyList<string> EndTokens => [RecitingModel.TurnEnd];

        public void Write(IReadOnlyList<ChatTurn> turns, ChatPrompt prompt) => prompt.AddText(turns[^1].Text);
    }
}
