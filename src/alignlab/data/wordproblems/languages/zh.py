"""Chinese, in simplified characters. Every thing comes with its measure word."""

from __future__ import annotations

from alignlab.data.wordproblems.language import ProblemLanguage

LANGUAGE = ProblemLanguage(
    code="zh",
    women=("小红", "小丽", "小芳", "小美", "小雪", "小兰"),
    men=("小明", "小强", "小华", "小军", "小刚", "小亮"),
    thing_forms=("measure", "thing"),
    things=("个|苹果", "支|铅笔", "本|笔记本", "张|票", "个|球", "个|橙子", "个|鸡蛋", "朵|花"),
    templates={
        "gets_more": (
            "{woman}有{a}{measure}{thing}。{man}又给了她{b}{measure}。{woman}现在有多少{measure}{thing}？",
            "{woman}现在有{work} = {c}{measure}{thing}。",
        ),
        "gives_away": (
            "{man}有{a}{measure}{thing}。他给了{woman}{b}{measure}。{man}还剩多少{measure}{thing}？",
            "{man}还剩{work} = {c}{measure}{thing}。",
        ),
        "full_boxes": (
            "有{a}个盒子，每个盒子里有{b}{measure}{thing}。一共有多少{measure}{thing}？",
            "一共有{work} = {c}{measure}{thing}。",
        ),
        "shares_out": (
            "{woman}有{a}{measure}{thing}，平均分给{b}个孩子。每个孩子分到多少{measure}{thing}？",
            "每个孩子分到{work} = {c}{measure}{thing}。",
        ),
        "buys": (
            "{man}有{c}枚硬币。他买了{b}{measure}{thing}，每{measure}{a}枚硬币。{man}还剩多少枚硬币？",
            "{man}付了{work} = {d}枚硬币。",
            "{man}还剩{work} = {e}枚硬币。",
        ),
        "boxes_and_loose": (
            "{woman}有{a}个盒子，每个盒子里有{b}{measure}{thing}，桌上还有{c}{measure}。"
            "{woman}一共有多少{measure}{thing}？",
            "盒子里有{work} = {d}{measure}{thing}。",
            "{woman}一共有{work} = {e}{measure}{thing}。",
        ),
        "times_as_many": (
            "{woman}有{a}{measure}{thing}。{man}的{thing}数量是她的{b}倍。两人一共有多少{measure}{thing}？",
            "{man}有{work} = {d}{measure}{thing}。",
            "两人一共有{work} = {e}{measure}{thing}。",
        ),
        "reading": (
            "一本书有{c}页。{woman}每天读{a}页，读了{b}天。{woman}还要读多少页？",
            "{woman}已经读了{work} = {d}页。",
            "{woman}还要读{work} = {e}页。",
        ),
        "sells_days": (
            "{woman}星期一卖了{a}{measure}{thing}，星期二卖了{b}{measure}，星期三卖了{c}{measure}。"
            "{woman}这三天一共卖了多少{measure}{thing}？",
            "星期一和星期二卖了{work} = {d}{measure}{thing}。",
            "三天一共卖了{work} = {e}{measure}{thing}。",
        ),
        "gives_and_gets": (
            "{man}有{a}{measure}{thing}。他给了{woman}{b}{measure}，后来又买了{c}{measure}。"
            "{man}现在有多少{measure}{thing}？",
            "送出之后，{man}有{work} = {d}{measure}{thing}。",
            "{man}现在有{work} = {e}{measure}{thing}。",
        ),
        "how_many_more": (
            "{woman}有{a}{measure}{thing}，{man}有{b}{measure}。{woman}比{man}多多少{measure}{thing}？",
            "{woman}比{man}多{work} = {c}{measure}{thing}。",
        ),
        "fewer_together": (
            "{man}有{a}{measure}{thing}。{woman}比他少{b}{measure}。两人一共有多少{measure}{thing}？",
            "{woman}有{work} = {d}{measure}{thing}。",
            "两人一共有{work} = {e}{measure}{thing}。",
        ),
        "pool_and_share": (
            "{woman}带来{a}{measure}{thing}，{man}带来{b}{measure}。他们把这些{thing}平均分给{c}个孩子。"
            "每个孩子分到多少{measure}{thing}？",
            "两人一共带来{work} = {d}{measure}{thing}。",
            "每个孩子分到{work} = {e}{measure}{thing}。",
        ),
        "packs_and_sells": (
            "{man}把{a}{measure}{thing}装进袋子，每袋装{b}{measure}。每袋卖{c}枚硬币。{man}一共得到多少枚硬币？",
            "{man}装满了{work} = {d}个袋子。",
            "{man}一共得到{work} = {e}枚硬币。",
        ),
        "two_prices": (
            "{woman}买了{a}{measure}{thing}，每{measure}{b}枚硬币，又买了{c}个杯子，每个{d}枚硬币。"
            "{woman}一共付了多少枚硬币？",
            "买{thing}付了{work} = {e}枚硬币。",
            "买杯子付了{work} = {f}枚硬币。",
            "{woman}一共付了{work} = {g}枚硬币。",
        ),
        "bus": (
            "公共汽车上有{a}个人。到站后下去了{b}个人，上来了{c}个人。现在车上有多少个人？",
            "有人下车后，车上有{work} = {d}个人。",
            "现在车上有{work} = {e}个人。",
        ),
        "age": (
            "{woman}今年{a}岁。{man}比她大{b}岁。{c}年后{man}多少岁？",
            "{man}今年{work} = {d}岁。",
            "到那时{man}{work} = {e}岁。",
        ),
        "garden": (
            "花园里有{a}排树，每排有{b}棵。{man}砍掉了{c}棵。还剩多少棵树？",
            "原来有{work} = {d}棵树。",
            "还剩{work} = {e}棵树。",
        ),
        "bakery": (
            "{woman}每小时烤{a}个面包，每天工作{b}个小时。{c}天里{woman}一共烤多少个面包？",
            "{woman}一天烤{work} = {d}个面包。",
            "{woman}一共烤{work} = {e}个面包。",
        ),
        "days_to_finish": (
            "一本书有{c}页。{man}已经读了{d}页，以后每天读{a}页。{man}还要读多少天？",
            "{man}还要读{work} = {e}页。",
            "{man}还要读{work} = {f}天。",
        ),
        "school_class": (
            "班里有{a}个女生和{b}个男生。每个学生得到{c}{measure}{thing}。一共需要多少{measure}{thing}？",
            "班里有{work} = {d}个学生。",
            "一共需要{work} = {e}{measure}{thing}。",
        ),
        "hat": (
            "{man}有{d}枚硬币。他买了{a}{measure}{thing}，每{measure}{b}枚硬币，又花{c}枚硬币买了一顶帽子。"
            "{man}还剩多少枚硬币？",
            "买{thing}付了{work} = {e}枚硬币。",
            "加上帽子，{man}付了{work} = {f}枚硬币。",
            "{man}还剩{work} = {g}枚硬币。",
        ),
    },
)
