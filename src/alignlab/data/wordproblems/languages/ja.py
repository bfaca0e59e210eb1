"""Japanese. Every thing comes with its counter."""

from __future__ import annotations

from alignlab.data.wordproblems.language import ProblemLanguage

LANGUAGE = ProblemLanguage(
    code="ja",
    women=("さくらさん", "はなさん", "ゆきさん", "あいさん", "まいさん", "りんさん"),
    men=("けんさん", "たろうさん", "だいきさん", "ゆうたさん", "しんさん", "りくさん"),
    thing_forms=("thing", "counter"),
    things=("りんご|個", "鉛筆|本", "ノート|冊", "チケット|枚", "ボール|個", "オレンジ|個", "卵|個", "花|本"),
    templates={
        "gets_more": (
            "{woman}は{thing}を{a}{counter}持っています。{man}からさらに{b}{counter}もらいました。"
            "{woman}の{thing}は今、何{counter}ですか。",
            "{woman}の{thing}は今、{work} = {c}{counter}です。",
        ),
        "gives_away": (
            "{man}は{thing}を{a}{counter}持っています。そのうち{b}{counter}を{woman}にあげました。"
            "{man}の{thing}は何{counter}残っていますか。",
            "{man}の{thing}は{work} = {c}{counter}残っています。",
        ),
        "full_boxes": (
            "箱が{a}箱あります。どの箱にも{thing}が{b}{counter}入っています。{thing}は全部で何{counter}ありますか。",
            "{thing}は全部で{work} = {c}{counter}あります。",
        ),
        "shares_out": (
            "{woman}は{a}{counter}の{thing}を{b}人の子どもに同じ数ずつ分けます。"
            "子ども一人がもらう{thing}は何{counter}ですか。",
            "子ども一人がもらう{thing}は{work} = {c}{counter}です。",
        ),
        "buys": (
            "{man}はコインを{c}枚持っています。一{counter}がコイン{a}枚の{thing}を{b}{counter}買いました。"
            "コインは何枚残っていますか。",
            "{man}が払ったコインは{work} = {d}枚です。",
            "コインは{work} = {e}枚残っています。",
        ),
        "boxes_and_loose": (
            "{woman}は箱を{a}箱持っています。どの箱にも{thing}が{b}{counter}入っています。"
            "机の上にもあと{c}{counter}あります。{thing}は全部で何{counter}ありますか。",
            "箱の中の{thing}は{work} = {d}{counter}です。",
            "{thing}は全部で{work} = {e}{counter}あります。",
        ),
        "times_as_many": (
            "{woman}は{thing}を{a}{counter}持っています。{man}はその{b}倍持っています。"
            "二人合わせて{thing}は何{counter}ありますか。",
            "{man}の{thing}は{work} = {d}{counter}です。",
            "二人合わせて{work} = {e}{counter}あります。",
        ),
        "reading": (
            "{c}ページの本があります。{woman}は毎日{a}ページずつ、{b}日間読みました。残りは何ページですか。",
            "読んだのは{work} = {d}ページです。",
            "残りは{work} = {e}ページです。",
        ),
        "sells_days": (
            "{woman}は{thing}を月曜日に{a}{counter}、火曜日に{b}{counter}、水曜日に{c}{counter}売りました。"
            "三日間で売った{thing}は何{counter}ですか。",
            "月曜日と火曜日に売った{thing}は{work} = {d}{counter}です。",
            "三日間で売った{thing}は{work} = {e}{counter}です。",
        ),
        "gives_and_gets": (
            "{man}は{thing}を{a}{counter}持っています。"
            "{woman}に{b}{counter}あげて、そのあと{c}{counter}買いました。{man}の{thing}は今、何{counter}ですか。",
            "あげたあと、{man}の{thing}は{work} = {d}{counter}でした。",
            "{man}の{thing}は今、{work} = {e}{counter}です。",
        ),
        "how_many_more": (
            "{woman}は{thing}を{a}{counter}、{man}は{b}{counter}持っています。"
            "{woman}は{man}より何{counter}多く持っていますか。",
            "{woman}は{man}より{work} = {c}{counter}多く持っています。",
        ),
        "fewer_together": (
            "{man}は{thing}を{a}{counter}持っています。{woman}の{thing}はそれより{b}{counter}少ないです。"
            "二人合わせて{thing}は何{counter}ありますか。",
            "{woman}の{thing}は{work} = {d}{counter}です。",
            "二人合わせて{work} = {e}{counter}あります。",
        ),
        "pool_and_share": (
            "{woman}は{thing}を{a}{counter}、{man}は{b}{counter}持ってきました。"
            "それを{c}人の子どもに同じ数ずつ分けます。子ども一人がもらう{thing}は何{counter}ですか。",
            "二人が持ってきた{thing}は{work} = {d}{counter}です。",
            "子ども一人がもらう{thing}は{work} = {e}{counter}です。",
        ),
        "packs_and_sells": (
            "{man}は{a}{counter}の{thing}を{b}{counter}ずつ袋に入れて、一袋をコイン{c}枚で売ります。"
            "{man}がもらうコインは何枚ですか。",
            "袋の数は{work} = {d}袋です。",
            "{man}がもらうコインは{work} = {e}枚です。",
        ),
        "two_prices": (
            "{woman}は一{counter}がコイン{b}枚の{thing}を{a}{counter}と、"
            "一個がコイン{d}枚のカップを{c}個買いました。{woman}が払ったコインは何枚ですか。",
            "{thing}の代金は{work} = {e}枚です。",
            "カップの代金は{work} = {f}枚です。",
            "{woman}が払ったコインは{work} = {g}枚です。",
        ),
        "bus": (
            "バスに{a}人が乗っています。次の停留所で{b}人が降りて、{c}人が乗りました。"
            "バスに乗っている人は今、何人ですか。",
            "降りたあと、バスに乗っている人は{work} = {d}人でした。",
            "バスに乗っている人は今、{work} = {e}人です。",
        ),
        "age": (
            "{woman}は{a}歳です。{man}は{woman}より{b}歳年上です。{man}は{c}年後に何歳になりますか。",
            "{man}は今、{work} = {d}歳です。",
            "{man}はそのとき{work} = {e}歳になります。",
        ),
        "garden": (
            "庭に木が{a}列植えてあります。どの列にも木が{b}本あります。{man}がそのうち{c}本を切りました。"
            "木は何本残っていますか。",
            "木は初め{work} = {d}本ありました。",
            "木は{work} = {e}本残っています。",
        ),
        "bakery": (
            "{woman}は一時間にパンを{a}個焼き、一日に{b}時間働きます。{woman}が{c}日間で焼くパンは何個ですか。",
            "{woman}が一日に焼くパンは{work} = {d}個です。",
            "{woman}が全部で焼くパンは{work} = {e}個です。",
        ),
        "days_to_finish": (
            "{c}ページの本があります。{man}はもう{d}ページ読みました。これから毎日{a}ページずつ読みます。"
            "読み終わるまであと何日かかりますか。",
            "残りは{work} = {e}ページです。",
            "読み終わるまであと{work} = {f}日かかります。",
        ),
        "school_class": (
            "クラスに女の子が{a}人、男の子が{b}人います。子ども全員に{thing}を{c}{counter}ずつ配ります。"
            "{thing}は何{counter}いりますか。",
            "クラスの子どもは{work} = {d}人です。",
            "{thing}は{work} = {e}{counter}いります。",
        ),
        "hat": (
            "{man}はコインを{d}枚持っています。"
            "一{counter}がコイン{b}枚の{thing}を{a}{counter}と、コイン{c}枚の帽子を買いました。"
            "コインは何枚残っていますか。",
            "{thing}の代金は{work} = {e}枚です。",
            "帽子も合わせて、{man}が払ったコインは{work} = {f}枚です。",
            "コインは{work} = {g}枚残っています。",
        ),
    },
)
