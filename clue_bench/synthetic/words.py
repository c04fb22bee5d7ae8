"""Word lists and templates for news: what the synthetic TNEWS titles and the news part of the corpus are made of.

Output: constants only. All of it was written for this project; nothing is quoted from CLUE or from any news source.
A template's slots: {s} and {r} subjects, {p} predicate, {n} and {m} nouns of the topic, {c} and {d} cities, {t} a
time, {y} a year, {k} a small number, {j} a digit, {x} a Latin word.
"""

from typing import NamedTuple


def split_words(text: str) -> tuple[str, ...]:
    """Return the words of `text`, which are separated by spaces."""
    return tuple(text.split())


class Topic(NamedTuple):
    """One news topic: any subject goes with any predicate, any noun fits a {n} or {m} slot."""

    share: int  # parts in 60 of the rows of a split
    subjects: tuple[str, ...]
    nouns: tuple[str, ...]
    predicates: tuple[str, ...]


CITIES = split_words("北京 上海 广州 成都 武汉 西安 杭州 南京 青岛 昆明 长沙 厦门 哈尔滨 兰州 苏州 重庆 合肥 贵阳")
TIMES = split_words("近日 昨天下午 上周末 今年春天 本月初 前不久 去年冬天 周三上午 国庆期间 今天凌晨 入夏以来 上个季度")
LATIN = split_words("APP AI VIP GPS CEO PDF iOS Android Wi-Fi 5G 4K DIY IP logo Excel Python OK BBS")

TOPICS: dict[str, Topic] = {
    "news_story": Topic(
        3,
        split_words("老木匠 小镇邮差 守林人 卖花姑娘 老船长 外婆 修表师傅 小和尚 流浪猫 隔壁奶奶"),
        split_words("旧信 老宅 童年往事 秘密 约定 雨夜 缘分 离别 遗憾 亲情"),
        split_words(
            "守着一个约定过了三十年 在雨夜里等来了故人 悄悄藏起一封旧信 终于说出了埋藏多年的秘密 独自回到了老宅"
            " 用一碗热汤温暖了陌生人 把遗憾讲给孩子听 含着眼泪道了别 捡到一只木盒 再也没有离开小镇"
        ),
    ),
    "news_culture": Topic(
        3,
        split_words("博物馆 书法家 京剧团 古籍修复师 诗人 皮影艺人 美术馆 考古队 民乐团 非遗传承人"),
        split_words("青铜器 古籍 书法 京剧 唐诗宋词 瓷器 国画 茶道 非遗 古建筑"),
        split_words(
            "介绍一批珍贵的青铜器 让古籍重新焕发光彩 把传统戏曲带进校园 参加国画与书法联展 讲述瓷器里的历史"
            " 推出唐诗主题讲座 走访一处古代遗址 解读碑文上的谜题 传承百年的手艺 用水墨描绘山河"
        ),
    ),
    "news_entertainment": Topic(
        5,
        split_words("女主角 人气歌手 老戏骨 新人导演 偶像组合 综艺主持人 影帝 喜剧演员 童星 经纪人"),
        split_words("票房 新专辑 综艺节目 红毯 粉丝 绯闻 偶像剧 演唱会 片酬 造型"),
        split_words(
            "携新片亮相电影节 在综艺里泪洒舞台 晒出红毯造型 宣布举办演唱会 回应恋情传闻 凭新剧圈粉无数"
            " 与粉丝庆祝生日 票房突破十亿 翻唱经典老歌 缺席颁奖典礼"
        ),
    ),
    "news_sports": Topic(
        5,
        split_words("云山队 北湖队 主教练 中锋 门将 女排姑娘 短跑名将 游泳小将 替补前锋 乒乓球选手"),
        split_words("联赛 冠军 进球 三分球 季后赛 转会 点球 决赛 裁判 伤病"),
        split_words(
            "在加时赛中逆转取胜 赢得联赛冠军 因伤缺席半决赛 迎来赛季首胜 刷新全国纪录"
            " 以3比1战胜对手 提前晋级决赛 告别国家队 遭遇三连败 在决赛中惜败"
        ),
    ),
    "news_finance": Topic(
        5,
        split_words("央行 商业银行 财政部门 经济学家 基金经理 外贸企业 民营企业家 投资机构 会计师 跨国公司"),
        split_words("通货膨胀 汇率 利率 货币政策 税收 存款 外汇储备 国债 消费券 实体经济"),
        split_words(
            "热议存款利率下调 解读上半年经济数据 看好消费复苏 提示汇率风险 关注小微企业贷款"
            " 预判货币政策走向 预计通胀温和回升 为新一轮融资做准备 建议进一步减税降费 讨论数字货币的前景"
        ),
    ),
    "news_house": Topic(
        4,
        split_words("购房者 开发商 房产中介 楼盘业主 二手房房东 物业公司 刚需家庭 住建部门 租客 售楼处"),
        split_words("房价 首付 学区房 公积金 二手房 限购 房贷 户型 楼盘 精装修"),
        split_words(
            "围绕房价展开争论 盯上了特价房源 开始关注小户型 为学区房发愁 直言降价三成仍难成交"
            " 担心楼盘延期交房 算了一笔公积金贷款账 重新签订租房合同 热议放松限购 反映精装修质量问题"
        ),
    ),
    "news_car": Topic(
        5,
        split_words("自主品牌 合资车企 造车新势力 豪华品牌 电动汽车厂 卡车公司 4S店 试驾编辑 老司机 车展主办方"),
        split_words("油耗 续航里程 发动机 底盘 变速箱 充电桩 内饰 轮胎 国六标准 自动泊车"),
        split_words(
            "展示百公里油耗4升的新车 夸赞全新发动机 测试600公里续航 点评新车内饰 公布新款SUV售价9万起"
            " 谈召回数千辆汽车 拆解底盘和变速箱 晒出月度销量榜 换上静音轮胎 体验自动泊车"
        ),
    ),
    "news_edu": Topic(
        4,
        split_words("高三学生 班主任 教育局 重点大学 考研学子 幼儿园老师 家长委员会 留学生 招生办 校长"),
        split_words("高考 作业 录取分数线 志愿填报 课外辅导 奖学金 考研 寒假 素质教育 教材"),
        split_words(
            "关注录取分数线 备战高考最后一个月 给家长写了一封信 讨论是否取消期中考试 迎来编程选修课"
            " 期待扩大招生规模 谈作业减负 为奖学金忙碌 提醒大家填好志愿 参与课堂教学改革"
        ),
    ),
    "news_tech": Topic(
        6,
        split_words("手机厂商 人工智能公司 芯片企业 程序员 软件公司 云计算平台 机器人团队 科学家 互联网巨头 创业公司"),
        split_words("芯片 人工智能 大数据 5G网络 操作系统 折叠屏 算法 云计算 无人机 区块链"),
        split_words(
            "发布新一代芯片 开源人工智能模型 推出折叠屏手机 升级操作系统 建成超级计算机 研发语音识别算法"
            " 修复安全漏洞 测试5G网络速度 让机器人学会走路 公布大数据报告"
        ),
    ),
    "news_military": Topic(
        3,
        split_words("海军舰队 空军飞行员 特种部队 航空兵部队 航母编队 陆军炮兵旅 边防战士 国防部 潜艇部队 装甲旅"),
        split_words("战斗机 航母 导弹 演习 雷达 坦克 阅兵 潜艇 弹药 军衔"),
        split_words(
            "在海上举行实弹演习 完成首次夜间飞行 列装新型导弹 护送商船通过海峡 苦练跳伞技能"
            " 展示隐身战机 击落来袭靶机 在高原驻训 举行军旗交接仪式 成功试射防空导弹"
        ),
    ),
    "news_travel": Topic(
        4,
        split_words("背包客 客栈老板 自驾游客 旅行博主 导游 旅行社 景区管理员 摄影爱好者 徒步队伍 民宿老板"),
        split_words("门票 攻略 古镇 海岛 雪山 签证 民宿 温泉 自驾路线 美景"),
        split_words(
            "推荐三条自驾路线 在古镇住了一个月 关注景区门票降价 拍下雪山日出 整理出海岛旅行攻略"
            " 期待赏花旺季 带朋友泡温泉看星空 提醒游客提前预约 徒步穿越峡谷 爱上了江南水乡"
        ),
    ),
    "news_world": Topic(
        3,
        split_words("联合国 外交部长 欧洲议会 邻国总统 国际组织 外交使团 首相 多国领导人 过渡政府 新任总理"),
        split_words("大选 边境 和谈 制裁 外交 峰会 公投 移民政策 条约 国际局势"),
        split_words(
            "呼吁各方保持克制 签署边境合作条约 宣布提前举行大选 出席国际峰会 对移民政策展开辩论 延长制裁期限"
            " 与来访代表团会谈 就和谈达成共识 发表联合声明 撤回驻外大使"
        ),
    ),
    "news_stock": Topic(
        3,
        split_words("散户 股民老张 券商分析师 基金公司 私募大佬 庄家 上市公司 证监会 机构投资者 老股民"),
        split_words("涨停 K线 大盘 市盈率 分红 解禁 抄底 仓位 跌停 成交量"),
        split_words(
            "看好放量涨停的龙头股 担心大盘跌破三千点 热议分红方案 盯上连续缩量的白酒股 关注60日均线"
            " 提前避开解禁高峰 后悔割肉离场 出现在龙虎榜上 没躲过尾盘跳水 把仓位降到三成"
        ),
    ),
    "news_agriculture": Topic(
        3,
        split_words("种粮大户 养猪户 果农 农业合作社 农技专家 菜农 茶园主人 返乡青年 养蜂人 村支书"),
        split_words("小麦 玉米 猪肉价格 化肥 大棚蔬菜 土地流转 水稻 农机 秸秆 柑橘"),
        split_words(
            "抢收小麦 试种新品种水稻 靠养殖土鸡增收 推广大棚种植技术 为柑橘找到销路"
            " 领到农机补贴 预防玉米虫害 流转了百亩土地 用秸秆制作饲料 喜迎丰收"
        ),
    ),
    "news_game": Topic(
        4,
        split_words("电竞战队 游戏主播 资深玩家 手游厂商 职业选手 打野选手 游戏策划 辅助玩家 公会会长 独立游戏团队"),
        split_words("皮肤 段位 副本 装备 排位赛 吃鸡 召唤师 版本更新 游戏主机 存档"),
        split_words(
            "吐槽热门英雄被削弱 首日通关新副本 晒出限定皮肤 拿下电竞总决赛冠军 分享快速上段位的技巧"
            " 直播吃鸡一打四 曝光版本更新内容 抽到稀有装备 跳过新手教程 联机打败最终首领"
        ),
    ),
}

# The topic that an ambiguous title borrows a word from.
NEIGHBOURS: dict[str, str] = {
    "news_story": "news_culture",
    "news_culture": "news_travel",
    "news_entertainment": "news_culture",
    "news_sports": "news_game",
    "news_finance": "news_stock",
    "news_house": "news_finance",
    "news_car": "news_tech",
    "news_edu": "news_tech",
    "news_tech": "news_finance",
    "news_military": "news_world",
    "news_travel": "news_story",
    "news_world": "news_military",
    "news_stock": "news_finance",
    "news_agriculture": "news_travel",
    "news_game": "news_entertainment",
}

TITLES: tuple[str, ...] = (
    "{s}{p}",
    "{c}：{s}{p}",
    "{s}{p}，{n}成为焦点",
    "{s}{p}，网友：没想到",
    "{t}，{s}{p}",
    "{n}和{m}，哪个更值得关注？",
    "为什么{n}总是离不开{m}？",
    "关于{n}，这{k}件事你一定要知道",
    "{y}年的{n}有哪些变化？{s}这样说",
    "从{n}到{m}：{s}的{k}年",
    "{s}谈{n}：{m}才是关键",
    "一文读懂{n}：{k}个问题说清楚",
    "揭秘{n}背后的{m}",
    "{s}为何如此看重{n}？",
    "如何看待{s}{p}？",
    "“{n}”遇上“{m}”，{s}有话说",
    "{s}：不懂{n}，就别谈{m}！",
    "{p}！{c}这位{s}火了",
)

# Sentences of a news document; the slots are those of the titles.
NEWS_SENTENCES: tuple[str, ...] = (
    "{t}，记者在{c}了解到，{s}{p}。",
    "据介绍，{n}与{m}的关系越来越密切，不少人开始重新认识{n}。",
    "{s}表示：“{n}是一件长期的事，{m}同样重要。”",
    "数据显示，与{y}年相比，人们对{n}的关注度提高了{k}.{j}%。",
    "有读者问：{n}到底该怎么看？{s}的回答很直接，先看{m}，再看{n}。",
    "在{c}，{s}{p}；而在{d}，更多的人在谈论{n}。",
    "此外，{s}还提到了{n}、{m}等话题（详见《{c}日报》第{k}版）。",
    "值得一提的是，早在{y}年，{s}就曾{p}。",
    "消息传出后，{r}第一时间作出回应，称{n}的情况“基本符合预期”。",
    "不过，也有人担心：如果没有{m}，{n}还能走多远？",
    "{t}，{s}{p}，这让{r}感到十分意外。",
    "围绕{n}的讨论已经持续了{k}个月，{s}和{r}的看法并不一致。",
    "一方面，{n}带来了新的机会；另一方面，{m}的压力也在增加。",
    "{r}认为，{s}{p}并不是偶然，背后是{n}的变化。",
    "截至{y}年底，{c}已有{k}0多家单位参与了与{n}有关的活动。",
    "“说到底，还是要把{n}做好。”{s}笑着说。",
    "{c}的一位{s}告诉我们，{n}比{m}更让人操心……",
    "接下来，{s}将在{c}和{d}两地继续关注{n}，同时兼顾{m}。",
    "很多人通过手机{x}了解{n}，每天大约花{k}分钟。",
    "谁也没有想到，{s}竟然{p}！",
)
