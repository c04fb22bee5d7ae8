"""Words and templates for sentence pairs: consumer-credit questions (AFQMC) and premises (CMNLI).

Output: constants only, written for this project; the credit products are invented.
"""

from typing import NamedTuple

from clue_bench.synthetic.words import split_words


class Intent(NamedTuple):
    """What a customer wants: any two questions of one intent ask the same. {p} is the product, {k} a number."""

    positives: int  # parts of label 1: common questions are asked in many wordings
    negatives: int  # parts of label 0
    questions: tuple[str, ...]
    answers: tuple[str, ...]


PRODUCTS = split_words("小金条 云付 月月借 安心贷 先享卡 随手借")
OPENERS = ("", "", "", "", "请问", "我想问下，", "你好，", "麻烦问一下，", "我借了***元，", "我是新用户，")
CLOSERS = ("", "", "", "", "？", "？", "？？", "，谢谢", "，急", "？在线等")

INTENTS: dict[str, Intent] = {
    "提前还款": Intent(
        9,
        1,
        (
            "{p}可以提前还款吗",
            "{p}没到期能不能提前还清",
            "怎么把{p}提前还了",
            "我想提前结清{p}，在哪里操作",
            "{p}提前还款的入口在哪",
            "{p}能提前还一部分吗",
        ),
        (
            "登录后进入{p}首页，点击“提前还款”，按页面提示操作即可。",
            "{p}支持提前还清，剩余日期不再计费。",
        ),
    ),
    "提高额度": Intent(
        9,
        1,
        (
            "{p}怎么提高额度",
            "{p}的额度怎样才能变多",
            "如何提升{p}额度",
            "{p}额度太低了，想提额",
            "{p}什么时候会提额度",
            "{p}的额度可以涨到***吗",
        ),
        ("额度由系统综合评估，保持良好的使用习惯有助于提高{p}额度。", "{p}暂不支持人工提额，请以页面显示为准。"),
    ),
    "开通": Intent(
        5,
        2,
        (
            "怎么开通{p}",
            "{p}在哪里开通",
            "开通{p}需要什么条件",
            "我想申请开通{p}",
            "如何才能开通使用{p}",
            "{p}开通的方法是什么",
        ),
        ("年满18周岁并完成实名认证后，可以在首页申请开通{p}。", "点击“我的”—“{p}”，即可查看开通条件。"),
    ),
    "关闭": Intent(
        2,
        4,
        (
            "怎么关闭{p}",
            "{p}如何注销关闭",
            "我不想用{p}了，要关掉它",
            "{p}关闭的步骤",
            "在哪里可以把{p}关了",
            "能不能帮我关闭{p}功能",
        ),
        ("结清全部欠款后，可以在设置里关闭{p}。", "关闭{p}以后，{k}天内不能再次申请。"),
    ),
    "逾期": Intent(
        1,
        6,
        (
            "{p}逾期了怎么办",
            "{p}逾期一天会怎么样",
            "{p}逾期有什么后果",
            "不小心让{p}逾期了，如何处理",
            "{p}已经逾期{k}天了",
            "{p}逾期后会罚多少",
        ),
        ("逾期后请尽快还清，{p}将按日收取罚息。", "{p}逾期可能影响您的信用，请按时还款。"),
    ),
    "利息": Intent(
        1,
        6,
        (
            "{p}的利息是多少",
            "{p}利息怎么算",
            "用{p}借钱利息高吗",
            "{p}一天的利息有多少",
            "为什么{p}利息这么贵",
            "{p}利息是按天收吗",
        ),
        ("{p}按日计息，具体利率以借款页面为准。", "以一万元为例，{p}每天的利息约为{k}元。"),
    ),
    "还款日": Intent(
        2,
        4,
        (
            "{p}还款日是哪天",
            "{p}的还款日期能改吗",
            "每个月几号是{p}还款日",
            "怎么修改{p}的还款日",
            "{p}还款日可以换成{k}号吗",
            "想把{p}还款日往后推",
        ),
        ("{p}的还款日固定为每月{k}号。", "每年可以修改{k}次还款日，在{p}的设置里操作。"),
    ),
    "分期": Intent(
        1,
        6,
        (
            "{p}账单怎么分期",
            "{p}能分期吗",
            "{p}可以分几期",
            "{p}分{k}期要多少手续费",
            "把{p}账单办理分期",
            "{p}分期以后还能取消吗",
        ),
        ("{p}账单可以分3、6、9、12期，手续费各不相同。", "已经出账的{p}账单才能办理分期。"),
    ),
    "银行卡": Intent(
        1,
        6,
        (
            "{p}怎么更换银行卡",
            "{p}绑定的银行卡能换吗",
            "想给{p}换一张银行卡",
            "{p}绑定不了银行卡",
            "{p}支持哪些银行卡",
            "{p}的银行卡在哪里绑定",
        ),
        ("进入{p}，选择“银行卡管理”，即可更换绑定的银行卡。", "请确认银行卡预留的手机号与{p}一致。"),
    ),
    "退款": Intent(
        4,
        2,
        (
            "{p}付的款退货后怎么退",
            "{p}退款多久到账",
            "用{p}买东西，退款退到哪里",
            "{p}退款没有收到",
            "商家退款了，{p}为什么没恢复",
            "{p}的退款什么时候回来",
        ),
        ("退款成功后，原{p}订单的金额会自动退回。", "一般{k}个工作日内退款到{p}，请耐心等待。"),
    ),
    "征信": Intent(
        7,
        1,
        (
            "{p}上征信吗",
            "用{p}会影响征信吗",
            "{p}会不会记入征信",
            "征信报告里能看到{p}吗",
            "{p}和个人征信有关系吗",
            "开{p}要查征信吗",
        ),
        ("{p}按照要求报送征信，请珍惜您的信用。", "正常使用{p}不会对征信产生不良影响。"),
    ),
    "付款失败": Intent(
        1,
        6,
        (
            "{p}付款失败是什么原因",
            "为什么不能用{p}付款",
            "{p}支付不了怎么回事",
            "{p}付款的时候提示失败",
            "在超市用{p}扫码付款不成功",
            "{p}突然无法支付了",
        ),
        ("{p}付款失败可能是网络或风控原因，请稍后再试。", "部分商家暂不支持{p}支付，请更换付款方式。"),
    ),
}

# Premises of the first kind: who (with and without a count), where (and indoors or out), doing what.
PEOPLE = tuple(
    (count + noun, noun)
    for count, noun in (
        ("三个", "孩子"), ("一位", "老人"), ("两名", "工人"), ("一群", "学生"), ("几个", "年轻人"), ("一位", "厨师"),
        ("一对", "夫妻"), ("一名", "医生"), ("四个", "女孩"), ("一个", "男孩"), ("几位", "农民"), ("两名", "警察"),
        ("一位", "老师"), ("一群", "游客"), ("两个", "士兵"), ("一名", "司机"),
    )
)  # fmt: skip
PLACES = (
    ("公园里", "户外"), ("厨房里", "室内"), ("操场上", "户外"), ("图书馆里", "室内"), ("河边", "户外"),
    ("教室里", "室内"), ("广场上", "户外"), ("车站大厅里", "室内"), ("雪地里", "户外"), ("客厅里", "室内"),
    ("沙滩上", "户外"), ("商场里", "室内"),
)  # fmt: skip
# Activity, what it is a kind of, an activity that excludes it.
ACTIVITIES = (
    ("踢足球", "运动", "下棋"), ("下棋", "玩游戏", "踢足球"), ("看书", "阅读", "跑步"), ("跑步", "锻炼身体", "看书"),
    ("弹吉他", "演奏乐器", "吃午饭"), ("吃午饭", "吃东西", "弹吉他"), ("画画", "创作", "跳舞"),
    ("跳舞", "活动身体", "画画"), ("写信", "写字", "搬箱子"), ("搬箱子", "干活", "写信"), ("喝茶", "喝东西", "唱歌"),
    ("唱歌", "表演节目", "喝茶"), ("打电话", "和别人说话", "睡觉"), ("睡觉", "休息", "打电话"),
)  # fmt: skip
COLOURS = split_words("红色 蓝色 黑色 黄色 白色 绿色")
PURPOSES = split_words("参加比赛 完成作业 消磨时间 准备节日 省钱 让家人高兴 写一篇文章 庆祝生日")

# Premises of the second kind: an opinion; what is judged, and the two poles of the judgement.
OPINIONS = (
    ("这家餐馆", "菜", "好吃", "难吃"), ("这家酒店", "房间", "干净", "脏乱"), ("这门课程", "内容", "有趣", "无聊"),
    ("这部电影", "故事", "精彩", "乏味"), ("这辆汽车", "座椅", "舒服", "难受"), ("这款手机", "屏幕", "清楚", "模糊"),
    ("这座小城", "街道", "安静", "吵闹"), ("这家公司", "待遇", "优厚", "微薄"), ("这本书", "文字", "易懂", "难懂"),
    ("这趟火车", "车厢", "宽敞", "拥挤"), ("这个软件", "界面", "简洁", "杂乱"), ("这家医院", "环境", "整洁", "破旧"),
)  # fmt: skip
ASPECTS = (("价格", "便宜", "昂贵"), ("口碑", "好", "糟糕"), ("评价", "正面", "负面"), ("名气", "大", "小"))
ASIDES = ("大家都这么说", "我和同事聊过好几次", "我已经告诉了{k}个朋友", "很多人也是这样看的", "至少我这样认为")

# Premises of the third kind: an organisation, what it did, the unit, of what.
FACTS = (
    ("汽车厂", "生产", "辆", "汽车"), ("出版社", "出版", "本", "图书"), ("农场", "收获", "吨", "小麦"),
    ("学校", "招收", "名", "新生"), ("医院", "接待", "位", "病人"), ("剧院", "上演", "场", "话剧"),
    ("书店", "卖出", "本", "杂志"), ("电器厂", "出口", "台", "冰箱"), ("果园", "采摘", "箱", "苹果"),
    ("动物园", "迎来", "位", "参观者"),
)  # fmt: skip


class Relations(NamedTuple):
    """Templates of one kind of premise and of the hypotheses that stand in each relation to it."""

    premises: tuple[str, ...]
    hypotheses: dict[str, tuple[str, ...]]


# Slots: {who} {noun} {place} {away} (a place elsewhere) {side} {other_side} (indoors, outdoors) {act} {kind} {opp}
# {colour} {colour2} {k} {purpose}.
SCENES = Relations(
    (
        "{who}正在{place}{act}，旁边放着一个{colour}的袋子。",
        "在{place}，{who}穿着{colour}的衣服，正在{act}。",
        "{who}在{place}{act}，头上戴着{colour}的帽子。",
    ),
    {
        "entailment": (
            "有人在{place}", "{noun}在{act}", "有人正在{kind}", "{noun}在{kind}", "那里有{colour}的东西",
            "这件事发生在{side}", "{place}有{noun}", "{noun}没有在{opp}",
        ),
        "contradiction": (
            "{noun}没有在{act}", "{noun}在{opp}", "{place}一个人也没有", "{noun}正在{away}{act}", "没有人在{kind}",
            "这件事发生在{other_side}", "那里的东西全是{colour2}的", "谁也没有看见{noun}",
        ),
        "neutral": (
            "{noun}正在等一个朋友", "{noun}打算{k}点回家", "{noun}是第一次来{place}", "{noun}{act}是为了{purpose}",
            "{noun}住在附近", "{noun}的家人也喜欢{kind}", "{noun}昨天也来过{place}", "有人在旁边卖水果",
        ),
    },
)  # fmt: skip

# Slots: {x} what is judged, {thing} {adj} {opp}, {aspect} {adj2} {opp2}, {conj}, {merit}, {aside}, {c} {y} {k}.
OPINION_RELATIONS = Relations(
    ("{x}的{thing}很{adj}，{aspect}{conj}{adj2}，{aside}。", "我觉得{x}的{thing}很{adj}，而{aspect}{conj}{adj2}。"),
    {
        "entailment": (
            "{x}的{thing}很{adj}", "{thing}很{adj}", "{thing}并不{opp}", "{x}的{aspect}很{adj2}",
            "{thing}{adj}是{x}的{merit}", "有人评价了{x}",
        ),
        "contradiction": (
            "{x}的{thing}很{opp}", "{thing}很{opp}", "{thing}并不{adj}", "{x}的{aspect}一点也不{adj2}",
            "没有人评价过{x}", "没有人说过{thing}怎么样",
        ),
        "neutral": (
            "{x}是{y}年开始出名的", "向我推荐{x}的人来自{c}", "我的父母也喜欢{x}", "{x}明年会有很大的变化",
            "{x}在{c}最受欢迎", "我打算写一篇文章介绍{x}",
        ),
    },
)  # fmt: skip

# Slots: {org} {verb} {unit} {obj}, {more} {less} (verbs) {fewer} (adjective), {n} {half} numbers, {c} {d} {y} {k}.
FACT_RELATIONS = Relations(
    (
        "{y}年，{c}的一家{org}{verb}了{n}{unit}{obj}，比前一年{more}了不少。",
        "{c}的一家{org}在{y}年{verb}了{n}{unit}{obj}，数量明显{more}。",
    ),
    {
        "entailment": (
            "{c}的{org}{verb}过{obj}", "{org}{verb}的{obj}超过了{half}{unit}", "前一年{verb}的{obj}更{fewer}",
            "这家{org}在{c}", "{obj}的数量{more}了", "{obj}的数量并没有{less}",
        ),
        "contradiction": (
            "{c}的{org}从来没有{verb}过{obj}", "{org}{verb}的{obj}不到{half}{unit}", "{org}一{unit}{obj}也没有{verb}",
            "这家{org}在{d}", "{obj}的数量{less}了", "{obj}的数量没有任何变化",
        ),
        "neutral": (
            "{org}打算明年扩大规模", "{org}的负责人工作了{k}年", "{d}的{org}{verb}了更多的{obj}",
            "{org}里有{k}0多名员工", "很多人喜欢去这家{org}", "这些{obj}大多来自{d}",
        ),
    },
)  # fmt: skip
